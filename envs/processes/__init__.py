"""Environments in other processes: workers, their communication, and recovery from failures."""
