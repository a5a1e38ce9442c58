"""Weights of other projects and of ours, from their files and into them."""
