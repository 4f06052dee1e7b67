"""The budget of a run: decided once at its start, stored in its folder, and the same for every later process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from noah.cost.latency_table import LARGEST_ERROR, LatencyTable
from noah.cost.latency_timing import ROUNDS, measure_table
from noah.cost.macs import backbone_macs, macs_of
from noah.errors import RunError, SettingsError
from noah.prepare.context import Materials
from noah.progress import Listener, counted
from noah.runs.folder import Run
from noah.space.budget import PRICED_MODULES, Bound, Budget, ParameterCost, Quantity, parameter_budget
from noah.space.budget_text import Multiple, read_latency, read_macs, spell_count, spell_seconds
from noah.space.subnet import Subnet

LATENCY_FILE = ("search", "latency.json")


def decide_budget(materials: Materials, listener: Listener) -> tuple[Budget, LatencyTable | None]:
    """Turn the budget's settings into numbers, and report each limit other than parameters, with its reason.

    Returns:
        The budget, and the table that predicts latency, if latency is bounded or an objective of the search.
    """
    settings = materials.settings.budget
    bounds = list(counted_budget(materials).bounds)
    table = None
    if settings.latency is not None or materials.settings.search.objective == "accuracy,latency":
        table = _measure(materials, listener)
        if settings.latency is not None:
            bounds.append(_latency_bound(settings.latency, table))
    for bound in bounds:
        if bound.name != "parameters":
            listener.say(f"budget    {bound.name} {bound.spell()} an image ({bound.reason})")
    return Budget(tuple(bounds)), table


def counted_budget(materials: Materials) -> Budget:
    """The part of the budget that is known without timing anything: parameters and multiply-accumulates."""
    settings = materials.settings.budget
    bounds = list(parameter_budget(settings.parameters, materials.space.sizes).bounds)
    if settings.macs is not None:
        bounds.append(_macs_bound(settings.macs, materials))
    return Budget(tuple(bounds))


def _macs_bound(setting: str | int, materials: Materials) -> Bound:
    plain = backbone_macs(materials.backbone.model, len(materials.dataset.classes))
    asked = read_macs(setting)
    assert asked is not None  # the settings were checked when they were read
    if isinstance(asked, Multiple):
        limit, reason = int(asked.factor * plain), f"{asked.factor:g}x the plain backbone's {spell_count(plain)}"
    else:
        limit, reason = asked, f"as set; the plain backbone has {spell_count(plain)}"
    return Bound("macs", limit, macs_of(materials.backbone.model, len(materials.dataset.classes)), reason)


def _latency_bound(setting: str, table: LatencyTable) -> Bound:
    asked, plain = read_latency(setting), table.plain_seconds
    assert asked is not None  # the settings were checked when they were read
    if isinstance(asked, Multiple):
        limit, reason = asked.factor * plain, f"{asked.factor:g}x the plain backbone's {spell_seconds(plain)}"
    else:
        limit, reason = asked, f"as set; the plain backbone takes {spell_seconds(plain)}"
    return Bound("latency", limit, table, reason)


def _measure(materials: Materials, listener: Listener) -> LatencyTable:
    backbone, hardware = materials.backbone, materials.hardware
    batch_size = materials.settings.budget.latency_batch_size
    with listener.bar("timing blocks", ROUNDS, "rounds") as bar:
        table = measure_table(
            materials.space,
            backbone.architecture,
            backbone.image_size,
            len(materials.dataset.classes),
            hardware,
            batch_size,
            bar,
        )
    middle, largest = table.errors
    threads = f", {counted(hardware.threads, 'threads')}" if hardware.device.type == "cpu" else ""
    listener.say(
        f"latency   predicted from timings of single blocks in torch ({hardware.device}, {hardware.precision}"
        f"{threads}, batch size {batch_size}); on {len(table.checks)} whole subnets off by {middle:.1%} in the median "
        f"and {largest:.1%} at most"
    )
    if largest > LARGEST_ERROR:
        listener.say(f"          That is more than {LARGEST_ERROR:.0%}: treat the bound on latency as a rough one.")
    return table


def budget_facts(budget: Budget) -> dict[str, Any]:
    """What run.yaml records about a budget: each limit as a number, and where it comes from."""
    return {bound.name: {"limit": bound.limit, "reason": bound.reason} for bound in budget.bounds}


def run_budget(run: Run, materials: Materials) -> Budget:
    """Read the budget that a run was started with; nothing is timed again.

    Raises:
        RunError: If its record in the run folder is missing or damaged.
    """
    facts: Any = run.description().get("budget")
    settings = materials.settings.budget
    if facts is None and settings.macs is None and settings.latency is None:
        return parameter_budget(settings.parameters, materials.space.sizes)  # of a version that kept no facts
    try:
        if not set(facts) <= set(PRICED_MODULES):
            raise ValueError(f"unknown quantities: {facts}")
        return Budget(tuple(_kept_bound(name, fact, run, materials) for name, fact in facts.items()))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RunError(
            f"The budget of the run {run.name} is damaged, in its run.yaml.",
            "Start a new run with `noah search`.",
        ) from error


def run_cost(quantity: Quantity, run: Run, materials: Materials) -> Callable[[Subnet], float]:
    """The function that says what a subnet costs in a run, bounded or not; latency is as timed at the run's start.

    Raises:
        RunError: If latency was not timed then, or its file is damaged.
    """
    match quantity:
        case "parameters":
            return ParameterCost(materials.space.sizes)
        case "macs":
            return macs_of(materials.backbone.model, len(materials.dataset.classes))
        case "latency":
            try:
                return LatencyTable.from_json(run.read_json(*LATENCY_FILE))
            except (AttributeError, KeyError, OverflowError, TypeError, ValueError, SettingsError) as error:
                raise RunError(
                    f"{run.path(*LATENCY_FILE)} is damaged: it is not a table of timings.",
                    "Start a new run with `noah search`.",
                ) from error


def _kept_bound(name: Quantity, fact: dict[str, Any], run: Run, materials: Materials) -> Bound:
    limit = float(fact["limit"]) if name == "latency" else int(fact["limit"])
    return Bound(name, limit, run_cost(name, run, materials), str(fact["reason"]))


COSTS: dict[str, Quantity] = {
    "accuracy,params": "parameters",
    "accuracy,macs": "macs",
    "accuracy,latency": "latency",
}
"""The quantity that is the second objective of a search; accuracy alone has none."""


def objective_cost(run: Run, materials: Materials) -> Callable[[Subnet], float]:
    """The cost that the search minimizes while it maximizes accuracy; always 0 if accuracy is the only objective.

    Raises:
        RunError: If the run's table of latencies is missing or damaged.
    """
    quantity = COSTS.get(materials.settings.search.objective)
    return (lambda _: 0) if quantity is None else run_cost(quantity, run, materials)
