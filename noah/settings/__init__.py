"""Every setting of a run with its rule and default, and where its value comes from."""
