"""Storage of a run's output: files, checkpoints, run folders, metrics, provenance."""
