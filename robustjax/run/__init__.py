"""A run: its folder, its pieces, its stages and what it saved."""
