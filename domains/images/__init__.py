"""Image diffusion models as flows: a built-in one of handwritten digits, and others from files."""
