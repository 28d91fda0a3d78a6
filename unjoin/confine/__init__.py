"""What each role's process may open."""
