"""Carries to people what the log says they must know."""
