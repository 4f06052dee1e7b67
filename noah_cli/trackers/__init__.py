"""Logs the figures of a run to TensorBoard and Weights & Biases, if --track or the setting `trackers` asks for it.

accelerate's trackers are not used: they log through its global state, which under a launcher starts a second process
group beside that of `noah.hardware.processes`.
"""
