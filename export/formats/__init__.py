"""What noah can export: one file a format, the registry of them, and opening an artifact of any."""
