"""Benchmark of learning from rollouts of outdated weights."""
