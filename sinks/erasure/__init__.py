"""Deletes the rows of people who asked to be gone, and says how far each request is."""
