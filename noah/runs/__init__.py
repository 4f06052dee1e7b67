"""The run folder: its files, their shapes and seals, and the subnet that it is about."""
