"""Whether a run is what it claims to be, and how runs compare."""
