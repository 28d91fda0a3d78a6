"""Decides which request runs now, which one waits, and which one is refused."""
