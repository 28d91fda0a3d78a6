"""From a record to a table's row."""
