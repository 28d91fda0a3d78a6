"""The tests of sinks/erasure."""
