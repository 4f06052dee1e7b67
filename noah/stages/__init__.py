"""The stages of a run: supernet, search, retraining, test."""
