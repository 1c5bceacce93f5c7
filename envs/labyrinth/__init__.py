"""Labyrinth: Morello's vectorised first-person environments, on GPU and CPU."""
