"""`python -m faults.overload`: three times what a collector can do, and what an honest client notices of it."""
