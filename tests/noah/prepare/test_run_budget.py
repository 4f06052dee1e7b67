"""Budgets that are decided once: as numbers, with their reasons, the same for whoever opens the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml
from torch import Tensor

from noah.cost.latency_table import LatencyTable
from noah.cost.macs import backbone_macs, merged_macs
from noah.errors import EmptySpaceError, RunError
from noah.hardware.device import Hardware
from noah.prepare.context import Materials
from noah.prepare.new_run import start_run
from noah.prepare.run_budget import decide_budget, run_budget, run_cost
from noah.progress import Bar, Silent
from noah.runs.folder import Run
from noah.settings.layers import Layer, resolve
from noah.space.subnet import Subnet
from tests.conftest import TinySettings
from tests.noah import tiny_run
from tests.noah.tiny_run import Recorder, make_materials

SUBNET = Subnet([5, 5, 0, 0, 0, 0], [1] * 6, [10] * 6)


def start(
    root: Path, tiny_settings: TinySettings, changes: dict[str, object], listener: Recorder | None = None
) -> tuple[Run, Materials]:
    settings, origins = resolve([Layer(source="test", values=tiny_settings(changes))])
    return start_run(root, settings, origins, listener or Recorder(), name="first")


@pytest.mark.parametrize(
    ("bound", "limit"), [("0.95x", None), ("1.05x", None), ("2000000", 2_000_000), (3_000_000,) * 2]
)
def test_work_is_bounded_by_a_number(
    tiny_settings: TinySettings, tmp_path: Path, bound: str | int, limit: int | None
) -> None:
    listener = Recorder()
    run, materials = start(tmp_path, tiny_settings, {"budget.macs": bound}, listener)
    model = materials.backbone.model
    plain = backbone_macs(model, 3)
    expected = limit or int(float(str(bound)[:-1]) * plain)
    (line,) = (line for line in listener.said if line.startswith("budget"))
    facts = run.description()["budget"]
    assert {name: fact["limit"] for name, fact in facts.items()} == {"parameters": 14_000, "macs": expected}
    reason = f"{bound} the plain backbone's" if limit is None else "as set; the plain backbone has"
    assert facts["macs"]["reason"].startswith(reason)
    budget = run_budget(run, materials)
    assert line == f"budget    macs {budget.bounds[1].spell()} an image ({facts['macs']['reason']})"
    assert budget.to_json() == {"parameters": 14_000, "macs": expected}
    assert budget.costs(SUBNET) == {"parameters": SUBNET.parameter_count(64), "macs": merged_macs(model, SUBNET, 3)}
    assert not run.path("search").exists()


def test_the_timings_of_the_start_are_those_of_the_run(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = Recorder()
    changes = {"budget.latency": "1000x", "budget.latency_batch_size": 2, "budget.parameters": None}
    run, materials = start(tmp_path, tiny_settings, changes, listener)
    stored = run.read_json("search", "latency.json")
    assert stored["hardware"] == {"device": "cpu", "precision": "fp32", "threads": 1}
    assert (stored["batch_size"], len(stored["checks"])) == (2, 5)
    limit = run.description()["budget"]["latency"]["limit"]
    assert limit == pytest.approx(1000 * stored["plain"] / 2)
    words = " ".join(listener.said)
    assert "latency   predicted from timings of single blocks in torch (cpu, fp32, 1 thread, batch size 2)" in words
    assert "budget    latency " in words
    assert ("15%: treat the bound on latency as a rough one." in words) == (stored["largest_error"] > 0.15)

    def measure(*_: object) -> None:
        raise AssertionError("timed again")

    monkeypatch.setattr("noah.prepare.run_budget.measure_table", measure)
    budgets = [run_budget(run, materials) for _ in range(2)]
    table = LatencyTable.from_json(stored)
    for budget in budgets:
        assert budget.to_json() == {"latency": limit}
        assert budget.costs(SUBNET) == {"latency": table(SUBNET)}


def test_latency_as_an_objective_is_timed_though_nothing_bounds_it(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, materials = start(tmp_path, tiny_settings, {"search.objective": "accuracy,latency"})
    assert run_budget(run, materials).to_json() == {"parameters": 14_000}
    assert run_cost("latency", run, materials)(SUBNET) > 0
    assert run_cost("macs", run, materials)(SUBNET) == merged_macs(materials.backbone.model, SUBNET, 3)
    assert run_cost("parameters", run, materials)(SUBNET) == SUBNET.parameter_count(64)


def rough(
    networks: Sequence[Callable[[Tensor], Tensor]], images: Tensor, hardware: Hardware, bar: Bar, rounds: int
) -> list[float]:
    """Whole subnets take far longer than their blocks."""
    return [1.0, 0.1, *[5.0] * 5, *[0.1] * (len(networks) - 7)]


def test_a_rough_prediction_is_called_one(tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noah.cost.latency_timing.measure_table.__defaults__", (rough,))
    listener = Recorder()
    materials = make_materials(tiny_settings({"budget.latency": "10s"}))
    budget, table = decide_budget(materials, listener)
    assert table is not None
    assert table.errors[1] > 0.15
    assert listener.said[-2:] == [
        "          That is more than 15%: treat the bound on latency as a rough one.",
        "budget    latency 10 s an image (as set; the plain backbone takes 1 s)",
    ]
    assert budget.parameters == 14_000


@pytest.mark.parametrize("bound", [{"budget.macs": "0.1x"}, {"budget.latency": "1us"}])
def test_a_bound_that_admits_nothing_leaves_no_run(
    tiny_settings: TinySettings, tmp_path: Path, bound: dict[str, object]
) -> None:
    with pytest.raises(EmptySpaceError) as raised:
        start(tmp_path, tiny_settings, bound)
    assert raised.value.hint.startswith("Raise it to at least --budget ")
    assert not list(tmp_path.iterdir())


def test_a_run_without_the_facts_is_bounded_by_its_parameters(tiny_settings: TinySettings, tmp_path: Path) -> None:
    """As runs are that an earlier version began."""
    for limit in (14_000, None):
        materials = make_materials(tiny_settings({"budget.parameters": limit}))
        run = tiny_run.start_run(tmp_path, materials, f"limit-{limit}")
        assert "budget" not in run.description()
        budget = run_budget(run, materials)
        assert budget.to_json() == ({} if limit is None else {"parameters": limit})
        assert budget.costs(SUBNET) == ({} if limit is None else {"parameters": SUBNET.parameter_count(64)})


@pytest.mark.parametrize(
    "facts", [None, 5, {"macs": 5}, {"macs": {"limit": "many", "reason": ""}}, {"time": {"limit": 5, "reason": ""}}]
)
def test_damaged_facts_are_refused(tiny_settings: TinySettings, tmp_path: Path, facts: object) -> None:
    run, materials = start(tmp_path, tiny_settings, {"budget.macs": "1.2x"})
    description = run.description()
    description["budget"] = facts
    run.path("run.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(RunError) as raised:
        run_budget(run, materials)
    assert raised.value.problem == "The budget of the run shapes/first is damaged, in its run.yaml."
    assert raised.value.hint == "Start a new run with `noah search`."


def test_a_damaged_table_is_refused(tiny_settings: TinySettings, tmp_path: Path) -> None:
    run, materials = start(tmp_path, tiny_settings, {"budget.latency": "10s"})
    table = run.read_json("search", "latency.json")
    for broken in ({**table, "blocks": 3}, {**table, "batch_size": None}, [], {**table, "last_readers": "nobody"}):
        run.path("search", "latency.json").write_text(json.dumps(broken))
        with pytest.raises(RunError, match=r"latency.json is damaged"):
            run_budget(run, materials)
    run.path("search", "latency.json").unlink()
    with pytest.raises(RunError, match=r"latency.json is missing"):
        run_budget(run, materials)


def test_a_subnet_that_is_given_is_not_bounded(tiny_settings: TinySettings, tmp_path: Path) -> None:
    settings, origins = resolve([Layer(source="test", values=tiny_settings({"budget.latency": "1us"}))])
    run, _ = start_run(tmp_path, settings, origins, Silent(), name="given", subnet="lora:2")
    assert "budget" not in run.description()
    assert not run.path("search").exists()
