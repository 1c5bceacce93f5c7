"""Throughput of every part of training, compared with alternatives."""
