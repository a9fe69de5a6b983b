"""Screening: a library of ligands docked into one receptor, in chunks that are done once whatever happens."""
