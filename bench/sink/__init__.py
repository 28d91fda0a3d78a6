"""What a stored row costs: the sink's way beside what a user would write, and the whole sink behind Kafka."""
