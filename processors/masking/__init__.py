"""What `free_text.py` stands on: patterns in linear time, and the validators that name or clear what they find."""
