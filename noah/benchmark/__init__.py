"""Sweeps of methods over tasks and seeds: what there is to do, each result as it comes, tables beside the paper's."""
