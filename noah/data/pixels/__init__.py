"""From image files to the tensors that a backbone takes."""
