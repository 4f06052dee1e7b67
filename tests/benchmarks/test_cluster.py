"""The simulation of workers, and that the page and the picture tell what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cluster import METHODS, SEEDS, WORKERS, Simulation, makespan, plot, simulate, vtab_durations
from benchmarks.cluster_search import efficiency, round_seconds
from noah.benchmark.rows import read_rows

ROOT = Path(__file__).parents[2]


def test_pieces_go_to_the_first_free_worker() -> None:
    assert makespan([5, 4, 3, 2], 2, 0) == 7
    assert makespan([5, 4, 3, 2], 2, 1) == 9
    assert makespan([5], 8, 0) == 5


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=60), st.floats(0, 1))
def test_no_worker_does_more_than_it_can(durations: list[float], overhead: float) -> None:
    found = simulate(durations, overhead)
    assert found.efficiency[1] == pytest.approx(sum(durations) / (sum(durations) + overhead * len(durations)))
    for count, share in found.efficiency.items():
        assert 0 < share <= 1 + 1e-9
        # Longest first takes at most 4/3 of the best time, which is at least the longest and the equal share.
        best = max(max(durations) + overhead, (sum(durations) + overhead * len(durations)) / count)
        assert sum(durations) / (count * share) <= (4 / 3 + 1 / 3) * best + 1e-6


def test_a_round_waits_for_its_last_look_and_for_the_driver() -> None:
    assert round_seconds([1, 1, 1], 3, 0, 0) == 1
    assert round_seconds([1, 1, 1], 2, 0, 0) == 2
    assert round_seconds([1, 1, 1], 1, 0.5, 0.25) == 3 * 1.75
    assert round_seconds([1, 1, 1], 3, 0, 2) == 1 + 3 * 2  # the driver is what they wait for
    assert efficiency([[1, 1], [1]], 2, 0, 0) == 3 / (2 * 2)


def test_what_is_stored_follows_from_what_was_measured() -> None:
    stored = json.loads((ROOT / "docs" / "cluster" / "overhead.json").read_text(encoding="utf-8"))
    durations = vtab_durations(read_rows(ROOT / "docs" / "pocket"))
    assert len(durations) == 19 * len(METHODS) * len(SEEDS)
    found = simulate(durations, stored["overheads"]["cell"]["milliseconds"] / 1000)
    kept = stored["simulations"]["a sweep of VTAB-1k"]
    assert {int(count): share for count, share in kept["efficiency"].items()} == pytest.approx(found.efficiency)
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    assert f"{found.efficiency[8]:.1%} with 8 workers and {found.efficiency[64]:.1%} with 64" in " ".join(page.split())
    for name in ("cell", "look", "record", "part"):
        assert f"{stored['overheads'][name]['milliseconds']:.1f} ms" in page
    search = stored["simulations"]["a search of 200 candidates"]["efficiency"]
    assert f"Work fills {search['8']:.1%} of the time of 8 workers, and {search['64']:.1%} with 64" in " ".join(
        page.split()
    )


def test_the_picture_has_a_line_for_each_kind_of_work() -> None:
    found = Simulation(2, 1.0, 10.0, dict.fromkeys(WORKERS, 0.5))
    svg = plot({"a sweep": found, "a search": found}).svg
    assert "a sweep" in svg and "a search" in svg and "50%" in svg
