"""One machine: its devices, checkpoints, log and signals."""
