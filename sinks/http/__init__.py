"""ClickHouse's HTTP dialect in front of the embedded engine, read-only."""
