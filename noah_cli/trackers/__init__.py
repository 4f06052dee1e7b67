"""Figures of a run in TensorBoard and Weights & Biases, where --track or the setting `trackers` asks for it.

accelerate's trackers are not used: they write their own log lines through its global state, which under a launcher
begins a process group beside that of `noah.hardware.processes`.
"""
