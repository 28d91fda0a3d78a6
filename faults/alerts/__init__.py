"""Alerts on the running pipeline: each has to fire when its fault is made, and none while nothing is wrong."""
