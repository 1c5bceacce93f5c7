"""Training as a person runs it: the loop, its live view, its signals."""
