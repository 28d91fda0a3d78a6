"""Kills, outages, overload: what becomes of acknowledged events, on the real stack."""
