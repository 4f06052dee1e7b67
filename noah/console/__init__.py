"""What someone who watches sees: lines, bars in a terminal or a notebook, and lengths of time in words."""
