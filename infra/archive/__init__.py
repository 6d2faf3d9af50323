"""Sealed records in files: written, read back, verified and restored."""
