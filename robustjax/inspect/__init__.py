"""A look into a run: norm statistics, and images with their attacks."""
