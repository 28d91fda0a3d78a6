"""Reads a topic partition and decides what to insert, exactly once."""
