"""Few-shot learning and domain generalization, with the real commands on miniature folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands import noah, write_settings
from tests.conftest import TinySettings
from tests.few_shot import SYNSETS, write_few_shot, write_imagenet, write_images, write_variant
from tests.opened import opened_paths


@pytest.fixture
def folder(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose noah.yaml names no dataset."""
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings()
    del settings["data"]
    write_settings(tmp_path, settings)
    return tmp_path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_few_shot_set_and_other_photographs_of_its_classes(folder: Path) -> None:
    root = write_few_shot(folder / "data" / "few-shot" / "oxford-pets", shots=(1,))
    names = [f"breed {label}" for label in range(37)]
    (root / "classes.txt").write_text("\n".join(names))
    for label in (0, 2):
        write_images(folder / "street" / names[label], ["a.jpg", "b.jpg", "c.jpg"], label)

    with opened_paths() as before:
        search = noah("search", "--dataset", "pets", "--shots", 1, "--run", "first")
        assert search.code == 0, search.err
        retrain = noah("retrain")
        assert retrain.code == 0, retrain.err
    assert "recipe quick" in search.words
    assert "--shots 1 makes it the few-shot set oxford_pets" in search.words
    assert "37 classes, 3 training and 6 validation images" in search.words
    assert "on 3 images" in retrain.words  # the list of one shot, without the validation images
    assert not [path for path in before if root in path.parents and path.name.startswith("test")]

    assert noah("eval").code == 0
    run = folder / "runs" / "oxford_pets-1shot" / "first"
    assert read(run / "eval" / "test.json")["total"] == 6

    on = noah("eval", "--on", "street")
    assert on.code == 0, on.err
    assert "street: 6 images of 2 of the run's 37 classes; only these can be predicted" in on.words
    assert "images right by the retrained winner on street" in on.words
    result = read(run / "eval" / "on" / "street.json")
    assert (result["classes_scored"], result["classes_of_run"], result["total"]) == (2, 37, 6)
    assert list(result["class_accuracy"]) == ["breed 0", "breed 2"]
    assert sum(images for *_, images in result["confusions"]) == 6
    assert {predicted for _, predicted, _ in result["confusions"]} <= {0, 1}

    assert "measured on street before" in noah("eval", "--on", "street").words
    (folder / "street").rename(folder / "road")
    for label in (0, 1):
        write_images(folder / "elsewhere" / "street" / names[label], ["a.jpg"], label)
    other = noah("eval", "--on", "elsewhere/street")
    assert other.code == 2 and "holds the result of another dataset that is also named street" in other.err
    assert noah("eval", "--on", "elsewhere/street", "--again").code == 0

    write_images(folder / "road" / "breed 99", ["a.jpg"], 1)
    unknown = noah("eval", "--on", "road")
    assert unknown.code == 1 and "has 1 class that this run does not know: breed 99" in unknown.err


def test_imagenet_and_its_variants(folder: Path) -> None:
    write_imagenet(folder / "data" / "imagenet", validation=1)
    write_variant(folder / "data" / "imagenet-adversarial", "imagenet-a", (1, 3))
    write_variant(folder / "data" / "domain-generalization" / "imagenet-rendition", "imagenet-r", (0, 2), listed=False)

    with opened_paths() as before:
        search = noah("search", "--dataset", "imagenet", "--shots", 4, "--list-seed", 0, "--seed", 3, "--run", "first")
        assert search.code == 0, search.err
        assert "on 16 images" in noah("retrain").words
    assert "1000 classes, 12 training and 4 validation images" in search.words
    assert not [path for path in before if folder in path.parents and {"val", "val_meta.list"} & set(path.parts)]

    run = folder / "runs" / "imagenet-4shot" / "first"
    for name, present in (("imagenet-a", (1, 3)), ("imagenet-r", (0, 2))):
        outcome = noah("eval", "--on", name)
        assert outcome.code == 0, outcome.err
        assert f"has images of 2 classes, where {name} has 200" in outcome.words
        result = read(run / "eval" / "on" / f"{name}.json")
        assert (result["classes_scored"], result["total"]) == (2, 4)
        assert list(result["class_accuracy"]) == [SYNSETS[label] for label in present]

    missing = noah("eval", "--on", "imagenetv2")
    assert missing.code == 2 and "No folder imagenetv2 or imagenet-v2 lies in data" in missing.err


def test_wrong_shots_are_told_in_a_line(folder: Path) -> None:
    write_few_shot(folder / "data" / "food101", shots=(1,))
    outcome = noah("search", "--dataset", "food101", "--shots", 3)
    assert outcome.code == 2
    assert "data.shots: input should be 1, 2, 4, 8 or 16, found 3 (--shots)" in outcome.err
    outcome = noah("search", "--dataset", "food101", "--shots", 4)
    assert outcome.code == 1
    assert "There is no list" in outcome.error_lines[0] and "1 with seed 0" in outcome.error_lines[1]


def test_on_and_an_artifact_do_not_go_together(folder: Path) -> None:
    write_few_shot(folder / "data" / "food101", shots=(1,))
    assert noah("search", "--dataset", "food101", "--shots", 1, "--run", "first").code == 0
    outcome = noah("eval", "--on", "food101")
    assert outcome.code == 2 and "has not been retrained" in outcome.err
    outcome = noah("eval", "some/artifact", "--on", "food101")
    assert outcome.code == 2 and "--on measures the retrained winner" in outcome.err
