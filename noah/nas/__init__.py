"""The search among subnets: how they are proposed and evaluated, when they are given up, and which one wins."""
