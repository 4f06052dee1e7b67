"""The nineteen tasks of VTAB-1k."""
