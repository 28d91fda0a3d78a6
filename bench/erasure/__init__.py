"""What an erasure costs, and what the other way would."""
