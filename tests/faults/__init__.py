"""Runs that are killed, and started again: `python -m tests.faults` from the repository's root."""
