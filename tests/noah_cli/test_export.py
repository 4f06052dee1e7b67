"""`noah export`: what it tells, and what it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands import noah
from tests.finished import FLOAT, UINT8, Finished


@pytest.mark.parametrize(("command", "name"), [("export", FLOAT), ("export uint8", UINT8)])
def test_it_tells_each_step_and_the_next_command(finished: Finished, command: str, name: str) -> None:
    outcome = finished.outcomes[command]
    assert "merging LoRA, adapters and prompts into the backbone" in outcome.words
    assert "writing model.onnx, opset 20, batch axis free" in outcome.words
    for batch in ("batch 1:", "batch 2:", "batch 18:"):
        assert f"checking {batch} largest difference" in outcome.words
    folder = f"runs/shapes/first/export/{name}"
    size = sum(file.stat().st_size for file in finished.artefact(name).iterdir())
    assert f"written {folder}, {size / 2**20:.1f} MiB" in outcome.words
    # In one piece, longer than a line of 80 columns, so that it can be copied.
    assert outcome.out.splitlines()[-1] == f"next      noah predict {folder} IMAGES... --out predictions.csv"


def test_a_path_with_blanks_is_quoted_in_the_next_command(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(run: object, *_: object, **__: object) -> Path:
        return Path("all runs/shapes/first/export/onnx-fp32")

    monkeypatch.setattr("export.artefact.export_onnx", write)
    shutil.copytree(project.folder / "runs", project.folder / "all runs")
    outcome = noah("export", "--format", "onnx", "--runs", "all runs")
    assert "noah predict 'all runs/shapes/first/export/onnx-fp32' IMAGES..." in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--format", "onnx", "--opset", "17"), 2, "Error: --opset 17 is too old."),
        (("--format", "tflite"), 2, "'tflite'"),
        (("--format", "onnx", "--input", "uint16"), 2, "'uint16'"),
    ],
)
def test_what_is_refused(project: Finished, arguments: tuple[str, ...], code: int, message: str) -> None:
    outcome = noah("export", *arguments)
    assert outcome.code == code
    assert message in outcome.err


def test_an_opset_that_the_exporter_does_not_know_is_an_error_in_two_lines(
    project: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = noah("export", "--format", "onnx", "--opset", "99")
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: ")
    assert hint == "Use another --opset, such as 20."
    # Outside of a test these would be printed, with a traceback of the exporter's.
    assert not [record for record in caplog.records if record.name.startswith("onnxscript")]
    assert project.artefact().exists()
