"""Runs many settings one after another; what is finished is skipped."""
