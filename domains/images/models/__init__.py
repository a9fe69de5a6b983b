"""Image models: the built-in digits, their networks, and how a model is found by its name."""
