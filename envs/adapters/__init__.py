"""Other people's environments as a `VectorEnv`, one file each."""
