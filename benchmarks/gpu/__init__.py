"""What a GPU makes of fits, docking and training."""
