"""Train a score network on complexes with known poses."""
