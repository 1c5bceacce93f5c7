"""Stored results as pictures and tables."""
