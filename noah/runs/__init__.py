"""The run folder: its files, their shapes and seals, and the subnet of the run."""
