"""What spreading work over a cluster costs, and how well many workers are used.

    python -m benchmarks.cluster

Measures on this machine what handing one piece of work to Ray costs beyond calling it, in milliseconds: each round
times calls and tasks in turn, and the medians are compared. Then it simulates how a sweep of VTAB-1k fills 1 to 128
workers, longest cells first, with durations of cells that were measured (docs/pocket/rows) and the measured cost of
each task, and how the rounds of a search do (`benchmarks.cluster_search`). The efficiency is
the work divided by what all workers had time for until the last one ended.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks import cluster_search
from noah.benchmark.cells import plan_cells
from noah.benchmark.rows import Row, read_rows
from noah.benchmark.suites import VTAB
from noah.cluster.crew import crew
from noah.cluster.resources import ONE_CORE
from noah.cluster.session import HERE, Cluster, connect
from noah.cluster.tasks import Task, run_tasks
from noah.cluster.workers import run_on_workers
from noah.files.atomic import write_json
from noah.progress import Listener, Silent
from noah_cli.report.charts.drawing import ACCENT, MUTED, Drawing, draw

ROUNDS, CALLS = 9, 40
WORKERS = (1, 2, 4, 8, 16, 32, 64, 128)
SEEDS = (0, 1, 2)
METHODS = {"noah": "noah", "lora:8": "lora:8", "adapter:8": "adapter:8", "prompt:50": "prompt:10", "linear": "linear"}
"""Method of the simulated sweep -> the measured method whose durations stand for it."""


@dataclass(frozen=True, slots=True)
class Overhead:
    """What one piece of work costs beyond the work.

    Attributes:
        milliseconds: The median over rounds of the time of a task, less the median of that of a call.
        lowest: The least of any round.
        highest: The most of any round.
        rounds: The number of rounds.
        each: Pieces of work in each round.
    """

    milliseconds: float
    lowest: float
    highest: float
    rounds: int
    each: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """How work of known durations fills workers.

    Attributes:
        pieces: The number of pieces of work.
        hours: What one worker would take for all.
        longest: Seconds of the longest piece, below which no number of workers brings the whole.
        efficiency: Number of workers -> the share of their time that is work, 0..1.
    """

    pieces: int
    hours: float
    longest: float
    efficiency: dict[int, float]


def nothing(listener: Listener) -> int:
    """A cell without work."""
    return 0


def cell_overhead(cluster: Cluster) -> Overhead:
    """Measure what a cell costs as a task."""

    def called() -> None:
        for _ in range(CALLS):
            nothing(Silent())

    def spread() -> None:
        tasks = [Task(f"cell {number}", nothing) for number in range(CALLS)]
        assert all(outcome.value == 0 for outcome in run_tasks(cluster, tasks, Silent(), title="cells"))

    return compare(called, spread)


def look_overhead(cluster: Cluster) -> Overhead:
    """Measure what a look at a candidate costs as a question to a process that holds all it needs."""
    with crew(cluster, cluster_search.ready, Silent()) as members:

        def called() -> None:
            for number in range(CALLS):
                cluster_search.same(number)

        def spread() -> None:
            assert len(list(members.answers(range(CALLS)))) == CALLS

        return compare(called, spread)


def record_overhead(cluster: Cluster) -> Overhead:
    """Measure what the driver takes to write down a look and to decide what comes next."""
    costs = [cluster_search.record_milliseconds() for _ in range(3)]
    return Overhead(statistics.median(costs), min(costs), max(costs), len(costs), cluster_search.task(1).planned)


def part_overhead(cluster: Cluster) -> Overhead:
    """Measure what a part of a prediction costs as a piece for workers that are open."""
    pieces, costs = {f"part {number}": number for number in range(CALLS + 1)}, []
    for _ in range(ROUNDS):
        done = run_on_workers(cluster, start_nothing, pieces, ONE_CORE, Silent(), title="parts", unit="parts")
        with closing(done):
            next(done)  # the workers are open by then
            begun = time.perf_counter()
            assert all(outcome.error is None for outcome in done)
            costs.append(1000 * (time.perf_counter() - begun) / CALLS)
    return Overhead(statistics.median(costs), min(costs), max(costs), ROUNDS, CALLS)


def start_nothing() -> Callable[[int, Listener], int]:
    """Open nothing, and do nothing with a piece."""
    return give


def give(piece: int, listener: Listener) -> int:
    """The piece itself."""
    return piece


MEASURES: Mapping[str, Callable[[Cluster], Overhead]] = {
    "cell": cell_overhead,
    "look": look_overhead,
    "record": record_overhead,
    "part": part_overhead,
}
"""What is measured, by the name of the piece of work."""


def compare(called: Callable[[], object], spread: Callable[[], object]) -> Overhead:
    """Time both in turn, after one of each that does not count."""
    called(), spread()  # the first starts the processes
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for work, seconds in zip((called, spread), times, strict=True):
            begun = time.perf_counter()
            work()
            seconds.append(1000 * (time.perf_counter() - begun) / CALLS)
    base = statistics.median(times[0])
    costs = [each - base for each in times[1]]
    return Overhead(statistics.median(costs), min(costs), max(costs), ROUNDS, CALLS)


def makespan(durations: Sequence[float], workers: int, overhead: float) -> float:
    """Seconds until the last of the pieces is over, if each goes to the first worker that is free, in their order.

    Args:
        durations: Seconds of each piece.
        workers: The number of workers.
        overhead: Seconds that each piece costs besides, at its worker.
    """
    free = [0.0] * workers
    for duration in durations:
        heapq.heappush(free, heapq.heappop(free) + duration + overhead)
    return max(free)


def simulate(durations: Sequence[float], overhead: float) -> Simulation:
    """Fill each number of workers, longest first."""
    ordered = sorted(durations, reverse=True)
    whole = sum(ordered)
    shares = {count: whole / (count * makespan(ordered, count, overhead)) for count in WORKERS}
    return Simulation(len(ordered), whole / 3600, ordered[0], shares)


def simulate_search(overhead: float, record: float) -> Simulation:
    """Fill each number of workers with the rounds of a search of 200 candidates.

    Args:
        overhead: Seconds that a look costs besides, at its worker.
        record: Seconds that the driver takes for each look, one after the other.
    """
    found = cluster_search.rounds(4)
    whole, longest = sum(map(sum, found)), max(map(max, found))
    shares = {count: cluster_search.efficiency(found, count, overhead, record) for count in WORKERS}
    return Simulation(sum(map(len, found)), whole / 3600, longest, shares)


def vtab_durations(rows: Sequence[Row]) -> list[float]:
    """Seconds of each cell of a sweep of VTAB-1k: those of measured cells with the same method, taken in turn."""
    measured = {
        method: [sum(row.details["seconds"].values()) for row in rows if row.cell.method == like]
        for method, like in METHODS.items()
    }
    taken = dict.fromkeys(METHODS, 0)
    durations = []
    for cell in plan_cells(VTAB.names, tuple(METHODS), SEEDS):
        durations.append(measured[cell.method][taken[cell.method] % len(measured[cell.method])])
        taken[cell.method] += 1
    return durations


def plot(simulations: Mapping[str, Simulation]) -> Drawing:
    """Draw the efficiency over the number of workers, a line for each kind of work."""
    from matplotlib.figure import Figure

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for number, (name, found) in enumerate(simulations.items()):
            color = (ACCENT, MUTED)[number % 2]
            axes.plot(list(found.efficiency), list(found.efficiency.values()), marker="o", color=color, label=name)
            for count in (8, 64):
                share = found.efficiency[count]
                axes.annotate(f"{share:.1%}", (count, share), xytext=(0, -14), textcoords="offset points", ha="center")
        axes.set_xscale("log", base=2)
        axes.set_xticks(WORKERS, [str(count) for count in WORKERS])
        axes.set_ylim(0, 1.05)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        axes.set_xlabel("workers")
        axes.set_ylabel("efficiency")
        axes.legend(frameon=False, loc="lower left")

    return draw(
        "cluster-efficiency",
        "Efficiency by number of workers",
        description="The share of the workers' time that is work, for 1 to 128 workers.",
        caption="",
        height=3.0,
        paint=paint,
        wide=True,
    )


def main() -> None:
    """Measure, simulate and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=Path, default=Path("docs/pocket"))
    parser.add_argument("--out", type=Path, default=Path("docs/cluster/overhead.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/images/cluster-efficiency.png"))
    parser.add_argument("--keep", action="store_true", help="Measure only what is not stored yet.")
    arguments = parser.parse_args()
    overheads: dict[str, Overhead] = {}
    if arguments.keep:
        stored = json.loads(arguments.out.read_text(encoding="utf-8"))["overheads"]
        overheads = {name: Overhead(**value) for name, value in stored.items()}
    missing = [name for name in MEASURES if name not in overheads]
    if missing:
        with connect(HERE, Silent()) as cluster:
            overheads |= {name: MEASURES[name](cluster) for name in missing}
    sweeps: Mapping[str, Callable[[], Simulation]] = {
        "a sweep of VTAB-1k": partial(
            simulate, vtab_durations(read_rows(arguments.rows)), overheads["cell"].milliseconds / 1000
        ),
        "a search of 200 candidates": partial(
            simulate_search, overheads["look"].milliseconds / 1000, overheads["record"].milliseconds / 1000
        ),
    }
    simulations = {name: simulation() for name, simulation in sweeps.items()}
    write_json(
        arguments.out,
        {
            "overheads": {name: asdict(value) for name, value in overheads.items()},
            "simulations": {name: asdict(value) for name, value in simulations.items()},
        },
    )
    arguments.picture.write_bytes(plot(simulations).png)
    for name, overhead in overheads.items():
        print(f"{name}: {overhead.milliseconds:.2f} ms ({overhead.lowest:.2f} to {overhead.highest:.2f})")
    for name, found in simulations.items():
        print(f"{name}: {found.efficiency[8]:.1%} with 8 workers, {found.efficiency[64]:.1%} with 64")


if __name__ == "__main__":
    main()
