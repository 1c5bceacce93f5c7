"""Third-party environments as a `VectorEnv`, one file for each source."""
