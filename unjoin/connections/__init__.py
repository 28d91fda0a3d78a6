"""How the roles reach Kafka and ClickHouse: the settings as what clients are made with."""
