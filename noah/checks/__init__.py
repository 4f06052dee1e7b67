"""Whether a run is what it says, and how runs compare."""
