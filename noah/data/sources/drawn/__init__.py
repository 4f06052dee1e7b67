"""Datasets that noah draws itself, without any download."""
