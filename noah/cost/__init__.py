"""What a merged subnet costs: multiply-accumulates and time."""
