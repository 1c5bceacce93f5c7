"""The causal networks: those of sequences, and those of images."""

SEQUENCES = ["lstm", "gru", "conv", "transformer"]

GRIDS = ["pixel-cnn", "gated-pixel-cnn"]
