"""The door's work on other hosts: the same pure functions in a plain loop, and in quixstreams."""
