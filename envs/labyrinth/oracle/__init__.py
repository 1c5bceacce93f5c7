"""A scripted player that knows the map, and its scores on each level."""
