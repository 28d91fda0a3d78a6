"""Collectors as others would write them, one readable file each, and the floors under all of them."""
