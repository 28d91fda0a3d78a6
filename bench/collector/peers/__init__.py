"""Collectors as others would write them, one readable file or folder each, and the floors under all of them."""
