"""What a collector counts, and the port where Prometheus reads it."""
