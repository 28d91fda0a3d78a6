"""Breaks each guard on purpose, and shows that a test turns red for it.

python -m mutants [--only NAME …]
"""
