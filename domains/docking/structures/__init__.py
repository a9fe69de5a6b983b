"""Proteins, ligands and pockets: from files to complexes and to batches of tensors."""
