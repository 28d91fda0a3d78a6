"""The attacker who holds all logs: Kafka, commits, scrapes and identified tables with their content, and no key."""
