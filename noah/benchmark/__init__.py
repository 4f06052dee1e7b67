"""Sweeps of methods over tasks and seeds: what to run, each result as it comes, and tables next to the paper's."""
