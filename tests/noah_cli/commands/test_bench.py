"""`noah bench`: ratios first, in turns, in 80 columns; no test here bounds a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from noah.hardware.gpu import why_no_gpu
from tests.commands import Outcome, noah
from tests.finished import ENGINES, FLOAT, UINT8, Finished


def bench(*arguments: object) -> Outcome:
    return noah("bench", *arguments, "--seconds", 0, "--provider", "cpu", "--threads", 1)


@pytest.fixture(scope="module")
def compared(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, dict[str, Any]]:
    file = tmp_path_factory.mktemp("bench") / "deep.json"
    outcome = bench(
        finished.artifact(), finished.artifact(UINT8), "--against", "backbone", "--batch", "1,3", "--out", file
    )
    return outcome, json.loads(file.read_text())


def test_two_artifacts_and_the_backbone_of_each(compared: tuple[Outcome, dict[str, Any]]) -> None:
    outcome, figures = compared
    assert (outcome.code, outcome.err) == (0, "")
    assert [model["name"] for model in figures["models"]] == [FLOAT, UINT8, "plain backbone", "plain backbone 2"]
    assert [model["compared_with"] for model in figures["models"]] == ["plain backbone", "plain backbone 2", None, None]


def test_every_figure_is_there(compared: tuple[Outcome, dict[str, Any]], finished: Finished) -> None:
    for model in compared[1]["models"]:
        assert list(model)[2] == "ratios"  # before the times
        assert [timing["batch"] for timing in model["timings"]] == [1, 3]
        assert all(0 < timing["p50"] <= timing["p90"] <= timing["p99"] for timing in model["timings"])
        assert all(timing["throughput"] > 0 and timing["runs"] == 10 for timing in model["timings"])
        assert model["load_seconds"] > 0
        assert model["provider"] == "CPUExecutionProvider"
        assert len(model["ratios"]) == (2 if model["compared_with"] else 0)
        assert all(0 < ratio["low"] <= ratio["median"] <= ratio["high"] for ratio in model["ratios"])
    assert compared[1]["models"][0]["bytes"] == (finished.artifact() / "model.onnx").stat().st_size


def test_the_tables_fit_80_columns_with_ratios_before_times(compared: tuple[Outcome, dict[str, Any]]) -> None:
    lines = compared[0].out.splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line.split() for line in lines if "ratio" in line.split() and "p50" in line.split())
    assert head == ["batch", "ratio", "quartiles", "p50", "p90", "p99", "images/s"]
    rows = [line.split() for line in lines if line.strip().startswith(f"{FLOAT} ")]
    assert [row[1] for row in rows[:2]] == ["1", "3"]
    assert all(row[2].endswith("x") for row in rows[:2])
    assert "times as fast as plain backbone or plain backbone 2" in compared[0].words


def test_without_a_reference_there_are_no_ratios(finished: Finished) -> None:
    outcome = bench(finished.artifact(), "--batch", "2")
    assert outcome.code == 0
    assert "ratio" not in outcome.words
    assert "images/s" in outcome.words


def test_figures_can_be_written_into_the_latest_run(project: Finished) -> None:
    outcome = bench("runs/latest/export/" + FLOAT, "--batch", "1", "--out", "runs/latest/bench.json")
    assert outcome.code == 0, outcome.err
    assert json.loads((project.run / "bench.json").read_text())["models"]
    assert f"written {project.run.relative_to(project.folder) / 'bench.json'}" in outcome.words


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_a_backbone_in_a_precision_that_does_not_run_here_is_refused_with_those_that_do(finished: Finished) -> None:
    outcome = bench(finished.artifact(), "--against", "backbone:bf16", "--batch", "1")
    assert outcome.code == 1
    assert outcome.error_lines == [
        "Error: The plain backbone in bf16 does not run here. onnxruntime has no such convolution on a CPU.",
        "Compare with --against backbone or backbone:fp16, or add --provider openvino.",
    ]
    assert bench(finished.artifact(), "--against", "backbone:fp16", "--batch", "1").code == 0
    openvino = ("--against", "backbone:bf16", "--batch", "1", "--seconds", 0, "--provider", "openvino")
    assert noah("bench", finished.artifact(), *openvino).code == 0


def test_the_folder_of_the_figures_is_made_before_anything_is_timed(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = bench(finished.artifact(), "--batch", "1", "--out", tmp_path / "new" / "bench.json")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "new" / "bench.json").read_text())["models"]
    monkeypatch.setattr("export.checks.bench.measure", None)
    outcome = bench(finished.artifact(), "--batch", "1", "--out", tmp_path)
    assert (outcome.code, outcome.error_lines[0]) == (2, f"Error: {tmp_path} is a folder.")


def test_against_another_artifact_also_of_the_same_name(finished: Finished, tmp_path: Path) -> None:
    other = finished.copy(tmp_path / "copy").artifact()
    outcome = bench(finished.artifact(), "--against", other, "--batch", "1", "--out", tmp_path / "b.json")
    assert outcome.code == 0
    first, second = json.loads((tmp_path / "b.json").read_text())["models"]
    assert first["name"] == f"shapes/first/{FLOAT} (1)"
    assert first["compared_with"] == second["name"] == f"shapes/first/{FLOAT} (2)"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--batch", "1,x"), 2, "Error: --batch 1,x is not a list of batch sizes."),
        (("--batch", "0"), 2, "Error: --batch 0 is not a list of batch sizes."),
        (("--against", "backbone:int4"), 2, "Error: --against backbone:int4: there is no such precision."),
        (("--against", "backbone:int8"), 2, "Error: The plain backbone cannot be in int8"),
        (("backbone",), 2, "Error: The plain backbone is not an artifact."),
        (("--against", "nowhere"), 1, "Error: No artifact here: nowhere does not exist."),
    ],
)
def test_what_is_refused(finished: Finished, arguments: tuple[str, ...], code: int, message: str) -> None:
    outcome = bench(finished.artifact(), *arguments)
    assert outcome.code == code
    assert outcome.error_lines[0].startswith(message)


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_an_engine_needs_a_gpu_and_says_so(engines: Finished) -> None:
    outcome = noah("bench", engines.artifact(ENGINES[0]))
    assert outcome.code == 1
    assert "is a TensorRT engine, which needs an NVIDIA GPU" in outcome.error_lines[0]
