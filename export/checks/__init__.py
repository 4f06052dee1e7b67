"""Checking a finished artifact: its accuracy, its speed, and whether it belongs to its run."""
