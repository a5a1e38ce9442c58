"""Adversarial training, after "Intriguing properties of adversarial training"."""

__version__ = "0.1.0"
