"""Evaluation of policies: episodes played outside training, and statistics of their returns."""
