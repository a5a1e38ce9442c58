"""A run compiled for chips that are not here: does it fit, at what cost."""
