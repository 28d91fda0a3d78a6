"""What earlier versions left on disk and on Kafka, read by this one."""
