"""What numbers of a few seeds say, and what they do not."""
