"""Data sets as noah sees them: labelled images in splits, and the one way in which an image becomes pixels.

Importing this package imports no torch, so that an exported artefact can prepare images without it.
"""
