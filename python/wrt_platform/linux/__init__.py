"""What Linux alone offers."""
