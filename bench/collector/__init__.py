"""`python -m bench.collector`: what an acknowledged event costs, beside what a user would write and the floors."""
