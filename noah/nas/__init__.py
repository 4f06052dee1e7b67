"""The search among subnets: who proposes, who evaluates, who is given up, who wins."""
