"""Canaries: a unique string in every field that could name somebody, and a search for them where nothing may."""
