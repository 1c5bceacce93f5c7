"""Warp kernels that compute Labyrinth for all environments at once."""
