"""Writing an artifact, and checking that it agrees with the model that it was made from."""
