"""Keeps records on disk while Kafka is away, and sends them afterwards."""
