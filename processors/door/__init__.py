"""The door: from an identified label to a row that names nobody."""
