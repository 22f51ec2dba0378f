"""Search spaces: what may be tuned, and between which values."""
