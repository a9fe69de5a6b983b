"""Moves poses a little: to the nearest one without clashes."""
