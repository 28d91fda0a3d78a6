"""Runs the collector as a process: starts it, serves, and stops it."""
