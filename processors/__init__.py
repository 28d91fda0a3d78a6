"""Topic in, topic out: Faust agents, and the pure door that labels go through."""
