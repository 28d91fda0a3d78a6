"""The page of `unjoin up`: what becomes of the visitor's own events."""
