"""Requests of the people whom the data is about."""
