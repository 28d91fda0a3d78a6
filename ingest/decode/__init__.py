"""Turns a body's bytes into events, or into the reasons why they are rejected."""
