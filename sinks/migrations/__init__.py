"""Numbered SQL; `sinks/clickhouse/migrate.py` applies it."""
