"""One training: its steps, its loss, its checkpoints, and how to notice that it has failed."""
