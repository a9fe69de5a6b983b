"""What docking costs: one network evaluation and one sampling step, by number of poses and by part."""
