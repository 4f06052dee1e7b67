"""From a searched network to files that run without it: writing artifacts, checking them and running them."""
