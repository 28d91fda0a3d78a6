"""What is asked of docker-compose.yml, started on a Docker engine."""
