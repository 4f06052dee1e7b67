"""The frozen network: which ones are supported, and how one is loaded."""
