"""Turns events into the records that Kafka stores."""
