"""From a searched network to files that run without it: writing, proving and running artifacts."""
