"""The values of the method: a subnet, the space of them, what they may cost, how they are drawn and varied."""
