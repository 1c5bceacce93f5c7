"""Acting, learning and running."""
