"""The screening benchmark: ligands an hour, memory, and enrichment of known ligands among decoys."""
