"""Images that moved: eval, export, verify and retrain find them where --data says, and refuse others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.commands import noah
from tests.finished import Finished


@pytest.fixture
def moved(project: Finished, photo_folder: Path, tmp_path: Path) -> Path:
    """A copy of the images elsewhere; where run.yaml says they are, there is nothing."""
    path = project.run / "run.yaml"
    path.write_text(path.read_text().replace(str(photo_folder), str(tmp_path / "gone")))
    return shutil.copytree(photo_folder, tmp_path / "elsewhere" / "pictures")


def test_every_command_that_opens_images_takes_them_from_their_new_place(moved: Path, project: Finished) -> None:
    accuracy = json.loads((project.run / "eval" / "test.json").read_text())["accuracy"]
    missing = noah("eval", "--again")
    assert missing.code == 2
    assert "gone does not exist." in missing.error_lines[0]
    assert "If the images of shapes/first have moved, name their place: --data FOLDER" in " ".join(missing.err.split())
    evaluated = noah("eval", "--again", "--data", moved)
    assert evaluated.code == 0, evaluated.err
    assert f"data {moved}, instead of " in evaluated.words
    assert json.loads((project.run / "eval" / "test.json").read_text())["accuracy"] == accuracy
    assert noah("export", "--format", "safetensors", "--data", moved).code == 0
    verified = noah("verify", "--data", moved)
    assert "images: 36 for training and 18 for validation, as named" in verified.words
    assert "accuracy of the test: " in verified.words
    trained = noah("retrain", "--restart", "--data", moved)
    assert trained.code == 0, trained.err


@pytest.mark.parametrize("arguments", [("eval", "--again"), ("export", "--format", "onnx"), ("retrain", "--restart")])
def test_other_images_are_refused_and_the_difference_is_told(moved: Path, arguments: tuple[str, ...]) -> None:
    shutil.copy(moved / "train" / "circle" / "00.png", moved / "train" / "circle" / "99.png")
    outcome = noah(*arguments, "--data", moved)
    assert outcome.code == 1
    words = " ".join(outcome.err.split())
    assert "are not those that the run shapes/first was started with (37 training images instead of 36)." in words
    assert "noah retrain --from shapes/first --data FOLDER" in words


def test_a_class_of_another_name_is_another_class(moved: Path) -> None:
    for split in ("train", "val", "test"):
        (moved / split / "circle").rename(moved / split / "disk")
    # The order is the same, and so are the names of all files.
    words = " ".join(noah("eval", "--again", "--data", moved).err.split())
    assert "was started with (new: disk; missing: circle)." in words


def test_a_dataset_with_a_name_has_not_moved(tmp_path: Path, project: Finished) -> None:
    path = project.run / "run.yaml"
    text = path.read_text()
    folder = next(line for line in text.splitlines() if line.strip().startswith("folder:"))
    path.write_text(
        text.replace(folder, folder.split("folder:")[0] + "folder: null").replace("dataset: null", "dataset: digits")
    )
    outcome = noah("eval", "--again", "--data", tmp_path)
    assert outcome.code == 2
    assert "The images of shapes/first are the dataset digits, which has no place" in outcome.error_lines[0]


def test_quick_verification_opens_no_image(project: Finished, tmp_path: Path) -> None:
    outcome = noah("verify", "--quick", "--data", tmp_path)
    assert outcome.code == 2
    assert "--data has no effect with --quick" in outcome.error_lines[0]
