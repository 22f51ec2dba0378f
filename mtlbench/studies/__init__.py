"""Studies: many trials of one setting, on images that no table uses."""
