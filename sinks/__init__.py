"""Kafka in, ClickHouse out: every record of a topic becomes exactly one row."""
