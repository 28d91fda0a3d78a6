"""Serves everything beside events: health, metrics, documentation, schemas, the SDK."""
