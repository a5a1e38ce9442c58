"""An audit of a network for gradient masking: checks, one verdict, a page."""
