"""Score networks, the interface they share, and their weights files."""
