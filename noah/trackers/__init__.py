"""Figures of a run in TensorBoard and Weights & Biases, where --track or the setting `trackers` asks for it."""
