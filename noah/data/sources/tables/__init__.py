"""Tables of images: a path and a label in each row, and perhaps a split and a group."""
