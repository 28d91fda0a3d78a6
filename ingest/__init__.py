"""The edge: takes events by HTTP, and answers 200 once they are durable in Kafka or in its spool."""
