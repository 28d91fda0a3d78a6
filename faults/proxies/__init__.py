"""Stock reverse proxies in front of a collector, with connections to it that they use again and again."""
