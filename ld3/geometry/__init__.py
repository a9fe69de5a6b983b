"""Geometry of the rotation group and of the circle: maps, wrapped Gaussians and their scores."""
