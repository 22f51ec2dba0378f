"""DeGMix, for pyramids of features and plain ViTs."""
