"""Where records wait on disk while Kafka is away."""
