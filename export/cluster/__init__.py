"""Predictions by several machines: what there is to do, in parts, and the folder that they are written to."""
