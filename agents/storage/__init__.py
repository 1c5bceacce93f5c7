"""Keeping what a run makes: files, checkpoints, run folders, metrics, provenance."""
