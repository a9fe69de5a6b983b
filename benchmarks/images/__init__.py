"""The image benchmark: ``python -m benchmarks.images --nfe 5``."""
