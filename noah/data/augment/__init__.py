"""Random changes of training images, from seeds alone."""
