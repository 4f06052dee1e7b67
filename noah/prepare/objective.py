"""The second objective of a search: what a subnet costs, in the quantity that the settings name."""

from __future__ import annotations

from collections.abc import Callable

from noah.prepare.context import Materials
from noah.prepare.run_budget import run_cost
from noah.runs.folder import Run
from noah.space.budget import Quantity
from noah.space.subnet import Subnet

COSTS: dict[str, Quantity] = {
    "accuracy,params": "parameters",
    "accuracy,macs": "macs",
    "accuracy,latency": "latency",
}
"""Objectives of a search -> the quantity of the second; there is none beside accuracy alone."""


def objective_cost(run: Run, materials: Materials) -> Callable[[Subnet], float]:
    """What the search makes small besides making accuracy large; 0 for every subnet where accuracy is all.

    Raises:
        RunError: If the run's table of latencies is missing or damaged.
    """
    quantity = COSTS.get(materials.settings.search.objective)
    return (lambda _: 0) if quantity is None else run_cost(quantity, run, materials)
