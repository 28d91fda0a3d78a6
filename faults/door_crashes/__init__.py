"""Kills the door at seeded moments while labels flow, and holds what it released against what it had to release.

python -m faults.door_crashes --kills 50 --seed 1
"""
