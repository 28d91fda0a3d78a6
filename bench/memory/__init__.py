"""`python -m bench.memory`: whether a process grows under steady load, as MiB an hour with an honest interval."""
