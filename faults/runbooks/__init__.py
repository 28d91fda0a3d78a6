"""Runbooks, tried on running stacks: their commands, and the audit after each."""
