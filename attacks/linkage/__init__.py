"""Linkage attacks on the pipeline's own output: what can somebody who holds it join back? `unjoin attack` runs them."""
