"""Attempts to join labels to persons: linkage, canaries, masking."""
