"""Train the built-in digits model."""
