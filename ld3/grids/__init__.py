"""Where a few steps go: the grid itself, and every way to make one without training."""
