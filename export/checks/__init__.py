"""Measuring an artifact that is there: accuracy, speed, belonging."""
