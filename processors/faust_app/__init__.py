"""Faust and its guard rails: what reads, commits, produces and watches."""
