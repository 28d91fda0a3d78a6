"""A model of the HTTP contract, and requests composed from a grammar that the wire is held to."""
