"""Proof from the log alone: what the seals say of the records, and what the records say of each other."""
