"""From events to the records that Kafka stores."""
