"""What the toolkit achieves, measured: command lines that run, count and report."""
