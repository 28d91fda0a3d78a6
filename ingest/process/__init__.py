"""The collector as a process: start, serve, stop."""
