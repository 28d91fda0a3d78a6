"""Makes records durable in Kafka: batches, producer sessions, acknowledgements."""
