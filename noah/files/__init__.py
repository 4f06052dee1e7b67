"""Files that survive a crash, grow line by line, belong to one process, or come from a stranger."""
