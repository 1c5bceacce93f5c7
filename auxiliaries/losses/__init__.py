"""Auxiliary losses, one file a paper."""
