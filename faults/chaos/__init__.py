"""Chaos: the real stack under load, a fault a round, and every event accounted for after each."""
