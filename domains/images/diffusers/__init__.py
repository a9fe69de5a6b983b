"""Image pipelines of the diffusers library as probability flows, and back."""
