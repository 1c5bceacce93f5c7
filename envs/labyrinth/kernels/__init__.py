"""What Labyrinth computes for all environments at once, in Warp."""
