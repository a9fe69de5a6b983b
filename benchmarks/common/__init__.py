"""What all benchmarks share: progress, storage, tables, plots, and how a command ends."""
