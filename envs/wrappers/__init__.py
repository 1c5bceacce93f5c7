"""Wrappers over Timesteps, written once for every `VectorEnv`."""
