"""Which of several poses is the best: one score a pose, with its parts."""
