"""The trainable network, and the plain network into which it is merged."""
