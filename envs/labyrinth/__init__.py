"""Labyrinth: our own vectorised first-person suite, on GPU and CPU."""
