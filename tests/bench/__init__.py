"""bench/: what its tables say; the figures are made on a machine, not here."""
