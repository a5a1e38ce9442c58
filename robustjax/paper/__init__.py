"""What the paper published and claims, and where it contradicts itself: data."""
