"""Docking: small molecules into protein pockets by diffusion on positions, orientations and torsions."""
