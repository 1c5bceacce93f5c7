"""Benchmark of density models on sources of known entropy."""
