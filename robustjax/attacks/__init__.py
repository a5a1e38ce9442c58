"""Attacks, which know a logits function and nothing else."""
