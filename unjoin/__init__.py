"""The command: the only room that sees ingest, processors and sinks."""
