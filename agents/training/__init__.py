"""Training as run by a user: the loop, its live display and its signals."""
