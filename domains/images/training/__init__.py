"""Training of the built-in digits model."""
