"""From a body's bytes to events, or to the reason why not."""
