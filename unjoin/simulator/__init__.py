"""Realistic traffic of many sessions: people that move, type, answer; and a client that posts them."""
