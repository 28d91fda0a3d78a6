"""Keys of the day: made, kept, destroyed."""
