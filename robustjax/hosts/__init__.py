"""Several machines that go on together or end together."""
