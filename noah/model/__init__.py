"""The trainable network, and the plain network that it is merged into."""
