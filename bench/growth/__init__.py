"""What one event, row or label costs as one thing grows and all else stays."""
