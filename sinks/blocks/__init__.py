"""The datums of a block as a file that ClickHouse reads."""
