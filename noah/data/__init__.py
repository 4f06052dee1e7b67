"""Datasets as noah sees them: labeled images in splits, and the one way an image becomes pixels.

Importing this package imports no torch, so that an exported artifact can prepare images without it.
"""
