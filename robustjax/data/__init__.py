"""Images: from files on disk to batches, by position alone."""
