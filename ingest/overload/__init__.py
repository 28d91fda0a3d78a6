"""Which request runs now, later, or not at all."""
