"""One training: its steps, its loss, its checkpoints, and when it has failed."""
