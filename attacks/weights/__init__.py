"""Whether a label may leave with a weight that says how good its voter is, without saying whose it is."""
