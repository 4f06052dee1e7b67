"""A run from Python: its stages return values, read what is there, and refuse what the commands refuse."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noah
from tests.commands import file_contents, write_settings
from tests.conftest import TinySettings, draw_photo
from tests.finished import FLOAT, NAME, UINT8, Finished


@pytest.fixture
def run(finished: Finished) -> noah.Run:
    """The finished run; not to be written to."""
    return noah.open_run(finished.run)


def test_stages_that_are_done_are_read_and_nothing_is_written(run: noah.Run, finished: Finished) -> None:
    before = file_contents(finished.run)
    stored = json.loads((finished.run / "eval" / "test.json").read_bytes())
    tested = run.evaluate()
    assert tested == run.evaluation
    assert (tested.correct, tested.accuracy) == (stored["correct"], stored["accuracy"])
    assert tested.standard_error == pytest.approx(stored["standard_error"])
    assert tested.class_accuracy == stored["class_accuracy"]
    model = json.loads((finished.run / "retrain" / "model.json").read_bytes())
    trained = run.retrain()
    assert (trained.subnet, trained.loss, trained.images) == (run.subnet, model["losses"][-1], model["images"])
    assert run.evaluate(run.artifacts[FLOAT]).total == tested.total
    assert file_contents(finished.run) == before


def test_an_artifact_carries_its_proofs_and_stands_for_its_path(run: noah.Run, finished: Finished) -> None:
    assert set(run.artifacts) == {FLOAT, UINT8}
    artifact = run.artifacts[FLOAT]
    manifest = json.loads((finished.artifact() / "manifest.json").read_bytes())
    assert Path(artifact) == finished.artifact()
    assert (artifact.format, artifact.precision) == ("onnx", "fp32")
    assert len(artifact.proofs) == len(manifest["parity"])
    assert artifact.max_difference == max(batch["max_difference"] for batch in manifest["parity"][0]["batches"])
    assert artifact.bytes == sum(path.stat().st_size for path in finished.artifact().iterdir())
    assert repr(artifact).startswith(f"<Artifact {finished.artifact()}: onnx, fp32, ")
    with (finished.folder / "predictions.csv").open(newline="") as file:
        (row, *_) = csv.DictReader(file)
    (prediction,) = artifact.predictor()(row["path"])
    assert (prediction.label, f"{prediction.probability:.6g}") == (row["label"], row["probability"])


def test_what_was_measured_on_another_dataset_is_kept_apart(project: Finished, photo_folder: Path) -> None:
    run = noah.open_run()
    assert run.name == NAME
    found = run.evaluate(on=photo_folder / "val")
    assert found.split == "shapes-val"
    assert found.total == 18
    assert str(found).startswith(f"{found.accuracy:.2%} of 18 images right, 95% interval ")
    assert run.evaluation != found


def test_options_that_contradict_each_other_are_refused(run: noah.Run) -> None:
    with pytest.raises(noah.errors.UsageError, match="--target is for engines"):
        run.export("onnx", target="sm89")
    with pytest.raises(noah.errors.UsageError, match="--on measures the retrained winner"):
        run.evaluate(run.artifacts[FLOAT], on="digits")
    with pytest.raises(noah.errors.UsageError, match="there is no such tracker"):
        run.retrain(track="tensorbord")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"calibration_images": 0}, "calibration_images is 0, but must be at least 1"),
        ({"calibration_images": -5, "input_size": 0}, "images is -5, .* input_size is 0, but must be at least 1"),
        ({"batch": 0}, "--batch 0"),
        ({"format": "auto", "batch": -1}, "--batch -1 is not a number of images"),
    ],
)
def test_numbers_that_the_command_would_not_take_are_refused(run: noah.Run, options: dict[str, Any], told: str) -> None:
    with pytest.raises(noah.errors.UsageError, match=told):
        run.export(**{"precision": "int8"} | options if "format" not in options else options)


def test_a_retraining_can_start_again(project: Finished) -> None:
    run = noah.open_run()
    before = (run.path / "retrain" / "checkpoint.safetensors").read_bytes()
    again = run.retrain(restart=True)
    assert (run.path / "retrain" / "checkpoint.safetensors").read_bytes() == before  # the same seed
    assert again.subnet == run.subnet
    assert run.evaluation is None  # it measured the weights that were discarded


def test_a_damaged_run_still_says_its_name(project: Finished) -> None:
    (project.run / "search" / "best.json").write_text("{", encoding="utf-8")
    run = noah.open_run()
    assert repr(run).startswith(f"<Run {NAME}: damaged (")
    with pytest.raises(noah.errors.RunError):
        _ = run.winner


def test_images_that_moved_and_grew(
    tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def draw(name: str, numbers: range) -> None:
        (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
        for number in numbers:
            Image.fromarray(draw_photo(name, rng)).save(tmp_path / "photos" / name / f"{number:02}.png")

    for name in ("square", "circle"):
        draw(name, range(12))
    write_settings(tmp_path, tiny_settings({"data.folder": "photos", "retrain.epochs": 1}))
    first = noah.retrain("lora:2", data="photos", name="first")
    before = first.evaluate()
    shutil.move("photos", "elsewhere")
    with pytest.raises(noah.errors.DatasetNotFoundError, match="--data FOLDER"):
        first.evaluate(again=True)
    assert first.evaluate(again=True, data="elsewhere").correct == before.correct
    assert first.export(data="elsewhere").path.is_dir()
    shutil.move("elsewhere", "photos")
    for name in ("square", "circle", "stripes"):
        draw(name, range(12, 20))
    second = first.retrain_on("photos", name="second")
    assert (second.name, second.subnet) == ("photos/second", first.subnet)
    told = second.evaluate()
    assert set(told.class_accuracy) == {"circle", "square", "stripes"}
    stored = json.loads((second.path / "eval" / "test.json").read_bytes())
    assert stored["earlier"]["run"] == "photos/first" and told.earlier is not None
    assert told.earlier[:2] == (before.total, before.correct) and told.seen == 0
