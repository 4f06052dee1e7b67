"""The most confident mistakes, kept with their pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit
from noah.errors import RunError
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions, short_name
from noah.runs.mistakes import KEPT, SIDE, keep_mistakes, most_confident_mistakes, read_mistakes


def predictions(wrong: int, right: int = 5) -> KeptPredictions:
    """The wrong ones come first, with confidences that rise from image to image."""
    count = wrong + right
    predicted = np.where(np.arange(count) < wrong, 1, 0)
    return KeptPredictions("mark", np.zeros(count, np.int64), predicted, np.linspace(0.3, 0.9, count))


def pixels(count: int, side: int) -> Pixels:
    images = np.random.default_rng(0).integers(256, size=(count, side, side, 3)).astype(np.uint8)
    preprocessing = Preprocessing(side, side, "squash", 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return load_pixels(ArraySplit(images, np.zeros(count, np.int64), "noise"), preprocessing)


def test_the_surest_come_first_and_right_ones_never() -> None:
    assert most_confident_mistakes(predictions(4)).tolist() == [3, 2, 1, 0]
    assert most_confident_mistakes(predictions(4), 2).tolist() == [3, 2]
    assert most_confident_mistakes(predictions(0)).tolist() == []


def test_of_equally_sure_ones_the_earlier_comes_first() -> None:
    equal = KeptPredictions("mark", np.zeros(3, np.int64), np.ones(3, np.int64), np.full(3, 0.5))
    assert most_confident_mistakes(equal).tolist() == [0, 1, 2]


def test_without_confidences_nothing_is_most_confident() -> None:
    with pytest.raises(ValueError, match="no confidences"):
        most_confident_mistakes(KeptPredictions("mark", np.zeros(1, np.int64), np.ones(1, np.int64)))


@pytest.mark.parametrize(("side", "kind", "shown"), [(8, "image/png", 8), (SIDE + 60, "image/jpeg", SIDE)])
def test_what_is_kept_is_read_again(tmp_path: Path, side: int, kind: str, shown: int) -> None:
    run, images = Run(tmp_path), pixels(25, side)
    keep_mistakes(run, predictions(20), images)
    found = read_mistakes(run, "mark")
    assert found is not None
    assert len(found) == KEPT
    assert [mistake.name for mistake in found[:2]] == [short_name(images.name(19)), short_name(images.name(18))]
    assert {(mistake.label, mistake.predicted, mistake.media_type) for mistake in found} == {(0, 1, kind)}
    picture = Image.open(io.BytesIO(found[0].picture))
    assert picture.size == (shown, shown)
    if kind == "image/png":
        np.testing.assert_array_equal(np.asarray(picture), images.batch(np.array([19]))[0])


def test_keeping_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for _ in range(2):
        keep_mistakes(Run(tmp_path), predictions(3), pixels(8, 200))
        contents.append((tmp_path / "eval" / "mistakes.json").read_bytes())
    assert contents[0] == contents[1]


def test_a_test_without_mistakes_keeps_none(tmp_path: Path) -> None:
    keep_mistakes(Run(tmp_path), predictions(0), pixels(5, 8))
    assert read_mistakes(Run(tmp_path), "mark") == ()


def test_those_of_another_split_are_none(tmp_path: Path) -> None:
    assert read_mistakes(Run(tmp_path), "mark") is None
    keep_mistakes(Run(tmp_path), predictions(2), pixels(7, 8))
    assert read_mistakes(Run(tmp_path), "another") is None


@pytest.mark.parametrize("content", ['{"fingerprint": "mark"}', '{"fingerprint": "mark", "mistakes": [{}]}', "[]"])
def test_damage_is_told_with_the_command_that_mends_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "mistakes.json").write_text(content)
    with pytest.raises(RunError, match="holds no mistakes") as raised:
        read_mistakes(Run(tmp_path), "mark")
    assert raised.value.hint.startswith("Type: noah eval --again")


def test_a_name_that_is_no_utf_8_is_kept_as_text(tmp_path: Path) -> None:
    split = ArraySplit(np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, np.int64), "caf\udce9")
    images = load_pixels(split, pixels(4, 8).preprocessing)
    keep_mistakes(Run(tmp_path), predictions(1, 3), images)
    found = read_mistakes(Run(tmp_path), "mark")
    assert found is not None
    assert found[0].name.startswith(r"caf\xe9")
