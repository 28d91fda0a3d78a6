"""The pipeline's own code on a seeded clock, network, disk, broker and engine: `python -m tests.simulation`."""
