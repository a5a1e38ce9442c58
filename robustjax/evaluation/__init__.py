"""Readings of attack trajectories, with exact counts."""
