"""The docking benchmark: ``python -m benchmarks.docking --nfe 10``."""
