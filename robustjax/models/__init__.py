"""Networks and their norms."""
