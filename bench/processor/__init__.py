"""`python -m bench.processor`: labels a second through the door, beside plain loops that do the same work."""
