"""One file per command; none of the method's logic."""
