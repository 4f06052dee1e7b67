"""Work on several machines through Ray: which machines there are, who does what, and what to repeat when one dies.

Nothing else in noah imports Ray, and this room loads it only when a cluster is asked for.
"""
