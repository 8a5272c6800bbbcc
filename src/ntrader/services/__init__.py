"""What a user can ask for, as plain async functions."""
