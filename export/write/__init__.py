"""Writing an artifact, and proving it."""
