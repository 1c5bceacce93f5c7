"""Intrinsic rewards for other people's trainers."""
