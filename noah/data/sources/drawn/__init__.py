"""Datasets that are drawn here and need no download."""
