"""Numbered SQL; `sinks/migrate.py` applies it."""
