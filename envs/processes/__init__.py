"""Environments in other processes: workers, how they talk, and what is left where one breaks."""
