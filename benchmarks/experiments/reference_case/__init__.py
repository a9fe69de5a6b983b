"""Our fit and the published LD3 code on one denoiser, with the same teacher pairs."""
