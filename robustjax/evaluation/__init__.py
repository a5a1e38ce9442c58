"""Readings, suites of attacks and their ledgers, with exact counts."""
