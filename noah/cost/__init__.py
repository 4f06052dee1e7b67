"""What a merged subnet costs, in multiply-accumulates and in time."""
