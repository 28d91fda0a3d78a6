"""What a row costs on disk and a question in time, with the tables as they are and as they might be."""
