"""Pipelines of the diffusers library as probability flows, and learned grids as schedulers for them."""
