"""What is counted, and how several workers' counts become one."""
