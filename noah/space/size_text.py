"""Says how large a search space is."""

from __future__ import annotations

from decimal import Decimal

from noah.space.budget import Budget
from noah.space.operators import estimate_size
from noah.space.search_space import SearchSpace


def describe_space(space: SearchSpace, budget: Budget) -> str:
    """Say how many subnets a space has, and how many of them are inside the budget."""
    text = f"{_count(space.size())} subnets"
    if not budget.bounds:
        return text
    inside = estimate_size(space, budget)
    number = _count(inside.number)
    if budget.others:
        number = f"about {_round(inside.number):,} (standard error {_round(inside.standard_error):,})"
    return f"{text}, {number} inside the budget of {budget.describe()}"


def _count(number: int) -> str:
    """Write a number of subnets in full unless it is beyond reading, as that of a space of every kind is."""
    return f"{number:,}" if number < 10**18 else f"{Decimal(number):.1e}".replace("e+", " x 10^")


def _round(number: float) -> int:
    """Round an estimate to three digits."""
    return int(float(f"{number:.3g}"))
