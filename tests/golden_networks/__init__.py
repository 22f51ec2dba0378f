"""What builds the networks of golden cases, a module for each published method (`golden_methods`)."""
