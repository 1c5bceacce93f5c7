"""A scripted player that sees the map, and what it scores on each level."""
