"""Files that survive a crash, grow by lines, belong to one process, or come from a stranger."""
