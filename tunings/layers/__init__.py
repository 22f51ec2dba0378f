"""Layers that tunings put in the place of others."""
