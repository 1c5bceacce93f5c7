"""Scoring a policy: episodes apart from training, and the statistics of their returns."""
