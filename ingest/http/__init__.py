"""Speaks HTTP: connections, headers, bodies and responses."""
