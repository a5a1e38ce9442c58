"""Any network against attacks by name: what it is, its images, its command."""
