"""Random changes to training images, which depend on seeds alone."""
