"""One file a command; no logic of the method."""
