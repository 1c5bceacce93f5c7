"""Benchmark of intrinsic rewards before a noisy television."""
