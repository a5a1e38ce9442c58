"""The pure train step, and the loop that drives it."""
