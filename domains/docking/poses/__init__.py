"""Poses of a ligand: how they move, how they are noised, what is measured on them."""
