"""Whole searches beside their pools: what they cost in steps, and the table of stored lines."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.confirmation import (
    ALONE,
    CHEAP,
    EARLIER,
    FROM_LABELS,
    METHODS,
    from_labels,
    search_steps,
    table,
    validated_single,
)
from benchmarks.evidence import Evidence, evidence_file
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
    earlier = from_labels([entry("auto", 124), entry(EARLIER, 124, OTHER), alone], pool, EARLIER)
    assert earlier is not None and (earlier.name, earlier.accuracy) == (f"{EARLIER} from labels", 59)


def test_the_table_ranks_each_winner_among_the_pool_of_its_task_and_seed(tmp_path: Path) -> None:
    random = {f"random {index}": 120 - 20 * (index % 2) for index in range(RANDOM)}
    pool = {**random, **dict.fromkeys(SINGLES, 110), "lora:8": 118, "lora:6+bias": 121}
    for task, more in (("digits", 0), ("shapes_count", 10)):
        for name, correct in pool.items():
            subnet = SUBNET if name == "random 1" else OTHER
            append_line(pool_file(tmp_path, task, 0), entry(name, correct + more, subnet).to_json())
        origin = "crossover" if more else "even mixture"
        line = {**entry("auto", 124 + 2 * more).to_json(), "search_steps": 1200, "origin": origin}
        append_line(tmp_path / "confirmation" / f"{task}-seed0.jsonl", line)
    append_line(pool_file(tmp_path, "digits", 1), entry("lora:8", 118).to_json())  # its pool has only begun
    append_line(tmp_path / "confirmation" / "digits-seed1.jsonl", {**entry("auto", 1).to_json(), "search_steps": 1200})
    for name, entropy in zip(ALONE, (0.5, 0.4, 0.3, 0.6, 0.7), strict=True):
        line = {"name": name, "epochs": 15, "accuracy": 0.5, "cross_entropy": entropy}
        append_line(evidence_file(tmp_path, "digits", 0), line)
    made = table(tmp_path, ["digits", "shapes_count", "rendered_letters"], [0, 1]).splitlines()
    # validation chooses bias, the third; from its labels the winner is random 1
    names = "lora:8 | lora:6+bias | auto | auto from labels | validated single"  # nothing is known of the others
    assert made[:4] == [
        f"| task | seed | {names} | winner of auto |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        "| digits | 0 | 59.0 (50) | 60.5 (100) | 62.0 (100) | 50.0 (25) | 55.0 (50) | lora, invited |",
        "| shapes_count | 0 | 64.0 (50) | 65.5 (100) | 72.0 (100) | 55.0 (25) |  | lora, searched |",
    ]
    assert made[7:12] == [
        "| lora:8 | 2 | 50 |  |  |  | +4.0 |  | -1.5 |  | 0.0 |",
        "| lora:6+bias | 2 | 100 |  | +1.5 |  | +5.5 |  |  |  | 0.0 |",
        "| auto | 2 | 100 |  | +5.5 |  | +7.0 |  | +4.0 |  | 4.0 |",
        "| auto from labels | 2 | 25 |  | -9.0 |  | -5.0 |  | -10.5 |  | 4.0 |",
        "| validated single | 1 | 50 |  | -4.0 |  |  |  | -5.5 |  | 4.0 |",
    ]
    assert made[-1].startswith(
        "95 % by Student's t over the means of the tasks, for auto: over lora:8 -26.3 to +37.3, "
    )


def test_searches_of_an_earlier_version_stand_beside_those_of_this_one(tmp_path: Path) -> None:
    for index in range(RANDOM):
        append_line(pool_file(tmp_path, "digits", 0), entry(f"random {index}", 120).to_json())
    for name in SINGLES:
        append_line(pool_file(tmp_path, "digits", 0), entry(name, 110, OTHER).to_json())
    lines = tmp_path / "confirmation" / "digits-seed0.jsonl"
    append_line(lines, {**entry(EARLIER, 124).to_json(), "search_steps": 1200, "origin": "crossover"})
    names = f"lora:8 | lora:6+bias | {EARLIER} | {EARLIER} from labels"
    assert table(tmp_path, ["digits"], [0]).splitlines()[0] == f"| task | seed | {names} | winner of auto |"
    append_line(lines, {**entry("auto", 130).to_json(), "search_steps": 900, "origin": "crossover"})
    made = table(tmp_path, ["digits"], [0]).splitlines()
    names = f"lora:8 | lora:6+bias | auto | {EARLIER} | auto from labels | {EARLIER} from labels"
    assert made[0] == f"| task | seed | {names} | winner of auto |"
    assert made[2].startswith("| digits | 0 | 55.0 (0) | 55.0 (0) | 65.0 (100) | 62.0 (100) |")


def test_validation_chooses_by_what_a_final_compares_by(tmp_path: Path) -> None:
    pool = [entry(name, 100 + place) for place, name in enumerate(ALONE)]
    for place, name in enumerate(ALONE):
        assert validated_single(tmp_path, "digits", 0, pool) is None
        seen = Evidence(name, 15, 0.5, 1.0 + abs(place - 1), 1.0 + abs(place - 2))
        append_line(evidence_file(tmp_path, "digits", 0), asdict(seen))
    chosen = validated_single(tmp_path, "digits", 0, pool)
    assert chosen is not None and chosen[0].accuracy == pool[2].accuracy  # calibrated, the third is best
    append_line(evidence_file(tmp_path, "digits", 1), asdict(Evidence(ALONE[0], 15, 0.5, 1.0)))
    for place, name in enumerate(ALONE[1:]):
        append_line(evidence_file(tmp_path, "digits", 1), asdict(Evidence(name, 15, 0.5, 2.0 - place, 3.0)))
    chosen = validated_single(tmp_path, "digits", 1, pool)
    assert chosen is not None and chosen[0].accuracy == pool[4].accuracy  # of one, the calibrated is not known
