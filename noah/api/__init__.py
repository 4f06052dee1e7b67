"""The road from Python: what `noah.search` and the other public names do, and what the commands call."""
