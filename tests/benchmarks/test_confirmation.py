"""Whole searches beside their pools: what they cost in steps, and the table of stored lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.confirmation import ALONE, CHEAP, FROM_LABELS, METHODS, from_labels, search_steps, table
from benchmarks.evidence import evidence_file
from benchmarks.pool import RANDOM, SINGLES, Entry, pool_file
from noah.files.jsonl import append_line
from noah.settings.layers import Layer, recipe_layer, resolve
from noah.space.subnet import Subnet

SUBNET, OTHER = Subnet.uniform(2, lora=1), Subnet.uniform(2, lora=2)


def entry(name: str, correct: int, subnet: Subnet = SUBNET) -> Entry:
    """An entry with so many of 200 test images right, after 300 steps."""
    return Entry(name, 0, subnet, 100, 300, "fp32", np.arange(200) < correct)


def test_the_steps_of_a_search_are_those_of_its_supernet_and_its_finalists() -> None:
    trained = {"epochs": 15, "batch_size": 25}
    final = {"rerank": 1, "rerank_epochs": 15}
    values = {"supernet": trained, "retrain": trained, "search": final}
    settings, _ = resolve([recipe_layer("auto"), Layer(source="test", values=values)])
    assert search_steps(settings, 400, 4) == 15 * 16 + 4 * 15 * 16 == 4 * 300  # four final trainings of 500 images
    settings, _ = resolve([recipe_layer("quick")])
    assert search_steps(settings, 400, 0) == 40 * 13


@pytest.mark.parametrize("method", [name for name, (recipe, _) in METHODS.items() if recipe != "auto"])
def test_every_method_trains_its_winner_alike(method: str) -> None:
    assert METHODS[method][1]["retrain"] == CHEAP


def test_the_winner_from_labels_is_the_pools_where_the_pool_has_it() -> None:
    pool = [entry("random 0", 100), entry("lora:8", 118, OTHER), replace(entry("lora:8", 90, OTHER), repeat=1)]
    found = from_labels([entry("auto", 124, OTHER)], pool)
    assert found is not None and (found.name, found.accuracy) == (FROM_LABELS, 59)
    alone = entry(FROM_LABELS, 120, OTHER)
    found = from_labels([entry("auto", 124, OTHER), alone], pool[:1])
    assert found is not None and found.accuracy == 60
    assert from_labels([entry("auto", 124, OTHER)], pool[:1]) is None
    assert from_labels([], pool) is None


def test_the_table_ranks_each_winner_among_the_pool_of_its_task_and_seed(tmp_path: Path) -> None:
    random = {f"random {index}": 120 - 20 * (index % 2) for index in range(RANDOM)}
    pool = {**random, **dict.fromkeys(SINGLES, 110), "lora:8": 118}
    for name, correct in pool.items():
        subnet = SUBNET if name == "random 1" else OTHER
        append_line(pool_file(tmp_path, "digits", 0), entry(name, correct, subnet).to_json())
    append_line(pool_file(tmp_path, "digits", 1), entry("lora:8", 118).to_json())  # its pool has only begun
    append_line(tmp_path / "confirmation" / "digits-seed1.jsonl", {**entry("auto", 1).to_json(), "search_steps": 1200})
    line = {**entry("auto", 124).to_json(), "search_steps": 1200}
    append_line(tmp_path / "confirmation" / "digits-seed0.jsonl", line)
    for name, entropy in zip(ALONE, (0.5, 0.4, 0.3, 0.6, 0.7), strict=True):
        line = {"name": name, "epochs": 15, "accuracy": 0.5, "cross_entropy": entropy}
        append_line(evidence_file(tmp_path, "digits", 0), line)
    made = table(tmp_path, ["digits", "shapes_count"], [0, 1]).splitlines()
    # validation chooses bias, the third; from its labels the winner is random 1
    assert made[:3] == [
        "| task | seed | lora:8 | auto | quick | published | auto from labels | validated single |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "| digits | 0 | 59.0 (50) | 62.0 (100) |  |  | 50.0 (25) | 55.0 (50) |",
    ]
    assert made[6:] == [
        "| lora:8 | 1 | 50 | 50 to 50 |  |  | +4.0 | +4.0 to +4.0 | 0.0 |",
        "| auto | 1 | 100 | 100 to 100 | +3.0 | +3.0 to +3.0 | +7.0 | +7.0 to +7.0 | 4.0 |",
        "| auto from labels | 1 | 25 | 25 to 25 | -9.0 | -9.0 to -9.0 | -5.0 | -5.0 to -5.0 | 4.0 |",
        "| validated single | 1 | 50 | 50 to 50 | -4.0 | -4.0 to -4.0 |  |  | 4.0 |",
    ]
