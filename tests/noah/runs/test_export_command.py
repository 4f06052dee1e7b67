"""The command that writes an artifact again, and where artifacts are."""

from __future__ import annotations

from pathlib import Path

import pytest

from noah.runs.export_command import export_again, export_beside, export_command, where_artifacts_are


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("onnx-fp32", "--format onnx --precision fp32 "),
        (
            "trt-fp16-uint8-probabilities-112px",
            "--format trt --precision fp16 --input uint8 --output probabilities --input-size 112 ",
        ),
        ("onnx-int8-dynamic-image", "--format onnx --precision int8-dynamic --input image "),
        ("safetensors", "--format safetensors "),
        ("of my own", ""),
    ],
)
def test_an_artifact_is_written_again_with_the_options_in_its_name(name: str, options: str) -> None:
    assert export_command(Path("runs") / "my photos" / "first", name) == f"noah export {options}--run 'my photos/first'"


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two artifacts, from the working folder."""
    monkeypatch.chdir(tmp_path)
    folder = Path("runs") / "photos" / "first"
    for name in ("onnx-fp32", "trt-fp16-uint8"):
        (folder / "export" / name).mkdir(parents=True)
        (folder / "export" / name / "manifest.json").touch()
    (folder / "run.yaml").touch()
    return folder


def test_an_artifact_in_its_run_is_exported_from_there(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    again = "Export it again: noah export --format trt --precision fp16 --input uint8 --run"
    assert export_again(run / "export" / "trt-fp16-uint8") == f"{again} photos/first"
    assert export_again((run / "export" / "trt-fp16-uint8").absolute()) == f"{again} photos/first"
    folder = run.absolute()
    for inside in ("export/trt-fp16-uint8", "export", ""):
        monkeypatch.chdir(folder / inside)
        artifact = Path("export/trt-fp16-uint8").relative_to(inside)
        assert export_again(artifact) == f"{again} {folder}"


def test_an_artifact_that_was_copied_is_exported_from_any_run(run: Path) -> None:
    assert export_again(Path("copied") / "onnx-fp32") == "Export it again: noah export"
    assert export_again(Path("runs") / "export" / "onnx-fp32") == "Export it again: noah export"


def test_another_artifact_is_one_of_the_same_run(run: Path) -> None:
    assert export_beside(run / "export" / "onnx-fp32", "--format trt") == "noah export --format trt --run photos/first"
    assert export_beside(Path("copied") / "onnx-fp32", "--format trt") == "noah export --format trt"


@pytest.mark.parametrize("place", ["", "export", "nothing", "export/nothing", "export/nothing/model.onnx"])
def test_who_names_a_run_is_told_its_artifacts(run: Path, place: str) -> None:
    there = f"{run / 'export' / 'onnx-fp32'}, {run / 'export' / 'trt-fp16-uint8'}"
    (leftover := run / "export" / ".onnx-fp32.dead0000.tmp").mkdir()
    (leftover / "manifest.json").touch()
    assert where_artifacts_are(run / place) == f"Name one that is there: {there}"


@pytest.mark.parametrize("place", ["", "export", "export/nothing"])
def test_a_run_without_any_is_named_in_the_command(run: Path, place: str) -> None:
    for manifest in run.glob("export/*/manifest.json"):
        manifest.unlink()
    assert where_artifacts_are(run / place) == "Write one: noah export --run photos/first"


def test_a_model_alone_is_not_enough(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    assert "bring the whole folder" in where_artifacts_are(tmp_path)
    assert where_artifacts_are(tmp_path / "nothing") == "Write one: noah export"
