"""The frozen network: which are covered, and how one is loaded."""
