"""From image files to a backbone's input tensors."""
