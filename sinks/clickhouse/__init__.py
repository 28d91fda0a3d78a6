"""The engine, embedded or a server: inserts, queries, migrations."""
