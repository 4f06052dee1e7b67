"""The kinds of module: what each computes in a block, and what is left of it when it is merged."""
