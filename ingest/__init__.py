"""The edge: HTTP in, Kafka out; a 200 means that the events are durable."""
