"""Which subnet `pareto:2` means, and what is told where it means none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from noah.errors import CommandOrderError, RunError, UsageError
from noah.runs.folder import Run
from noah.runs.run_subnet import chosen_subnet, front_subnet
from noah.space.subnet import Subnet

FRONT = [Subnet.uniform(2, lora=8), Subnet.uniform(2, lora=2), Subnet.uniform(2)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "shapes" / "first")
    made.folder.mkdir(parents=True)
    describe(made, {})
    made.write_json({"subnet": FRONT[1].to_json()}, "search", "best.json")
    made.write_json([{"subnet": subnet.to_json()} for subnet in FRONT], "search", "pareto.json")
    return made


def describe(run: Run, facts: dict[str, Any]) -> None:
    run.path("run.yaml").write_text(yaml.safe_dump({"settings": {}, **facts}))


def test_the_first_is_the_most_accurate(run: Run) -> None:
    assert [front_subnet(run, f"pareto:{number}") for number in (1, 2, 3)] == FRONT
    assert front_subnet(run, "pareto:02") == FRONT[1]
    assert chosen_subnet(run) == FRONT[1]


@pytest.mark.parametrize("number", ["0", "4", "99", "", "-1", "1.0", "x", "٢", " 1", "1+lora:2"])
def test_a_number_that_it_has_not(run: Run, number: str) -> None:
    with pytest.raises(UsageError) as raised:
        front_subnet(run, f"pareto:{number}")
    assert raised.value.problem == (
        f"--subnet pareto:{number}: the Pareto front of shapes/first has the subnets 1 to 3."
    )
    assert raised.value.hint == "1 is the most accurate and the last the cheapest: write pareto:1, for example."


def test_a_search_of_one_objective_has_none(run: Run) -> None:
    run.path("search", "pareto.json").unlink()
    with pytest.raises(UsageError, match="one objective, and so no Pareto front") as raised:
        front_subnet(run, "pareto:1")
    assert raised.value.hint.endswith(f"noah retrain --run {run.option}")


def test_a_search_that_has_not_finished(run: Run) -> None:
    run.path("search", "best.json").unlink()
    with pytest.raises(CommandOrderError, match="has not finished") as raised:
        front_subnet(run, "pareto:1")
    assert raised.value.hint == f"Finish it with: noah search --resume --run {run.option}"


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"spelling": "lora:8"}, "Name the run that was searched: --run DATASET/ID"),
        ({"spelling": "pareto:1", "searched": "shapes/zero"}, "Name the run that was searched: --run shapes/zero"),
        ({"spelling": "pareto:1", "searched": "my shapes/0"}, "Name the run that was searched: --run 'my shapes/0'"),
    ],
)
def test_a_run_of_a_given_subnet_names_the_one_that_was_searched(run: Run, given: dict[str, Any], hint: str) -> None:
    describe(run, {"given": {**given, "subnet": FRONT[0].to_json()}})
    with pytest.raises(UsageError, match="was given: this run has no Pareto front") as raised:
        front_subnet(run, "pareto:1")
    assert raised.value.hint == hint


@pytest.mark.parametrize("damage", ["[{}]", '[{"subnet": {"lora": [1]}}]', "[3]", "{}", "3", "[{"])
def test_a_damaged_front_is_told(run: Run, damage: str) -> None:
    run.path("search", "pareto.json").write_text(damage)
    with pytest.raises(RunError, match=r"pareto\.json is damaged"):
        front_subnet(run, "pareto:1")
