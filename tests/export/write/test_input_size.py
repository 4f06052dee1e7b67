"""An artifact for images of another size than the searched one."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from export.artifact.manifest import read_manifest
from export.formats.load import load_predictor
from noah.evaluation.score import score
from noah.prepare.context import at_image_size, prepare
from noah.progress import Silent
from noah.runs.folder import Run
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained
from tests.commands import noah
from tests.finished import FLOAT, Finished

SIDE = 48
NAME = f"{FLOAT}-{SIDE}px"


@pytest.fixture(scope="module")
def resized(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished run with one more artifact, which was tested; not to be written to."""
    copied = finished.copy(tmp_path_factory.mktemp("resized"))
    with contextlib.chdir(copied.folder):
        exported = noah("export", "--format", "onnx", "--input-size", str(SIDE))
        tested = noah("eval", f"runs/shapes/first/export/{NAME}")
    return Finished(copied.folder, {"export": exported, "eval": tested})


def right(finished: Finished, side: int | None, part: str) -> int:
    """Images that the retrained torch subnet puts right at a size, computed apart from any export."""
    run = Run(finished.run)
    materials = prepare(run.settings(), Silent())
    materials = materials if side is None else at_image_size(materials, side)
    model, subnet = load_retrained(run, materials)
    split = materials.dataset.validation if part == "validation" else materials.dataset.load_test()
    pixels = materials.pixels(split, part, Silent())
    with Silent().bar(part, len(pixels), "images") as bar:
        return score(merged_logits(model, subnet, pixels, materials, bar), pixels.labels).correct


@pytest.fixture
def inside(resized: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    monkeypatch.chdir(resized.folder)
    return resized


def test_it_takes_images_of_its_size_and_tells_the_accuracy_at_both(inside: Finished) -> None:
    outcome = inside.outcomes["export"]
    assert outcome.code == 0, outcome.err
    manifest = read_manifest(inside.artifact(NAME))
    assert manifest.input.shape == ("batch", 3, SIDE, SIDE)
    assert (manifest.preprocessing["height"], manifest.preprocessing["width"]) == (SIDE, SIDE)
    assert manifest.backbone.image_size == (SIDE, SIDE)
    assert manifest.resized is not None
    searched = read_manifest(inside.artifact(FLOAT))
    assert manifest.resized.searched_size == searched.backbone.image_size
    assert (manifest.resized.correct, manifest.resized.correct_at_searched_size) == (
        right(inside, SIDE, "validation"),
        right(inside, None, "validation"),
    )
    (height, width), total = searched.backbone.image_size, manifest.resized.total
    shares = (manifest.resized.correct / total, manifest.resized.correct_at_searched_size / total)
    assert (
        f"accuracy {shares[0]:.2%} at {SIDE} x {SIDE} px and {shares[1]:.2%} at {width} x {height}, the size of the "
        f"search, of {total} validation images of shapes, which it was trained on"
    ) in outcome.words
    card = (inside.artifact(NAME) / "model_card.md").read_text()
    assert f"{shares[0]:.2%} are right at this size and {shares[1]:.2%} at the original size" in card
    assert "test images right" not in card  # which is of the other size


def test_its_test_is_at_its_size(inside: Finished) -> None:
    assert inside.outcomes["eval"].code == 0, inside.outcomes["eval"].err
    result = json.loads((inside.run / "eval" / "artifact" / f"{NAME}.json").read_text())
    assert result["correct"] == right(inside, SIDE, "test")


def test_the_size_of_the_search_gives_the_usual_artifact(project: Finished) -> None:
    side = read_manifest(project.artifact()).backbone.image_size[0]
    outcome = noah("export", "--format", "onnx", "--input-size", str(side))
    assert outcome.code == 0, outcome.err
    assert f"input {side} px, as in the search" in outcome.words
    assert read_manifest(project.artifact(FLOAT)).resized is None
    assert not list(project.run.glob("export/*px"))


def test_it_is_verified_as_an_artifact_of_its_run(inside: Finished) -> None:
    outcome = noah("verify")
    assert outcome.code == 0, outcome.out
    assert f"artifact {NAME}: its files, weights, subnet and classes match the run" in outcome.words
    total = right(inside, SIDE, "test")
    assert f"accuracy of {NAME}: {total} of 18 right again, exactly" in outcome.words


def test_pictures_are_resized_to_its_size(inside: Finished, photo_folder: Path, tmp_path: Path) -> None:
    predictor = load_predictor(inside.artifact(NAME), provider="cpu")
    assert predictor.preprocessing.height == SIDE
    table = tmp_path / "predictions.csv"
    outcome = noah("predict", inside.artifact(NAME), photo_folder / "test", "--out", table)
    assert outcome.code == 0, outcome.err
    assert len(table.read_text().splitlines()) == 19


def test_the_report_tells_both_sizes(resized: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = resized.copy(tmp_path / "copy")
    monkeypatch.chdir(copied.folder)
    outcome = noah("report")
    assert outcome.code == 0, outcome.err
    page = (copied.run / "report.html").read_text()
    assert f"{NAME} takes images of {SIDE} \N{MULTIPLICATION SIGN} {SIDE} px" in page
    assert f"--input-size {SIDE}" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--format", "onnx", "--input-size", "50"), "--input-size: 50 is not a multiple of the patch size 16; use 48"),
        (("--format", "safetensors", "--input-size", "48"), "--input-size has no effect with --format safetensors"),
    ],
)
def test_what_is_refused(inside: Finished, arguments: tuple[str, ...], message: str) -> None:
    outcome = noah("export", *arguments)
    assert outcome.code == 2
    assert message in outcome.err
