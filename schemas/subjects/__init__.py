"""Whom an event is about, and requests that all of them be gone."""
