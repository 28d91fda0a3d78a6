"""Looks for one person's texts in every place, as somebody would who has taken the disks."""
