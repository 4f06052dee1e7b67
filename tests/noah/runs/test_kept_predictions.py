"""The kept predictions of a test, and the fingerprint that says which tests are of the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.data.split import ArraySplit, FileSplit, select
from noah.errors import RunError
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions, fingerprint_split, read_predictions, write_predictions

CLASSES = ("cat", "dog")
labels = st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 999)), min_size=1, max_size=30)


def files(folder: str, labels: tuple[int, ...] = (0, 1, 1)) -> FileSplit:
    names = ("cat/1.png", "dog/1.png", "dog/2.png")
    return FileSplit(tuple(Path(folder) / name for name in names), np.array(labels, np.int64))


def test_moving_the_images_does_not_change_the_fingerprint() -> None:
    assert fingerprint_split(files("here"), CLASSES) == fingerprint_split(files("/far/away"), CLASSES)


def test_other_images_labels_order_or_classes_do() -> None:
    split = files("here")
    renamed = FileSplit((*split.paths[:2], Path("here/dog/3.png")), split.labels)
    others = [
        fingerprint_split(files("here", (0, 1, 0)), CLASSES),
        fingerprint_split(renamed, CLASSES),
        fingerprint_split(select(split, np.array([0, 2, 1])), CLASSES),
        fingerprint_split(select(split, np.array([0, 1])), CLASSES),
        fingerprint_split(split, ("cat", "wolf")),
        fingerprint_split(ArraySplit(np.zeros((3, 2, 2), np.uint8), split.labels, "digits"), CLASSES),
    ]
    assert len({fingerprint_split(split, CLASSES), *others}) == len(others) + 1


@given(labels)
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[int, int]]) -> None:
    run = Run(tmp_path_factory.mktemp("run"))
    true, predicted = (np.array(values, np.int64) for values in zip(*pairs, strict=True))
    write_predictions(run, KeptPredictions("mark", true, predicted), "artifact", "x.json")
    assert [path.name for path in run.path("eval", "predictions", "artifact").iterdir()] == ["x.json"]
    found = read_predictions(run, "artifact", "x.json")
    assert (found.fingerprint, found.labels.tolist(), found.predicted.tolist()) == (
        "mark",
        true.tolist(),
        predicted.tolist(),
    )
    assert found.right.tolist() == [one == other for one, other in pairs]


def test_confidences_are_kept_to_five_digits(tmp_path: Path) -> None:
    labels, confidence = np.array([0, 1], np.int64), np.array([0.123456789, 1.0])
    write_predictions(Run(tmp_path), KeptPredictions("mark", labels, labels, confidence), "test.json")
    found = read_predictions(Run(tmp_path), "test.json")
    assert found.confidence is not None
    assert found.confidence.tolist() == [0.12346, 1.0]


def test_a_test_of_an_earlier_version_has_no_confidences(tmp_path: Path) -> None:
    labels = np.array([0, 1], np.int64)
    write_predictions(Run(tmp_path), KeptPredictions("mark", labels, labels), "test.json")
    assert read_predictions(Run(tmp_path), "test.json").confidence is None


def test_a_file_takes_a_few_bytes_an_image(tmp_path: Path) -> None:
    many = np.arange(50_000) % 1000
    write_predictions(Run(tmp_path), KeptPredictions("mark", many, many), "test.json")
    assert tmp_path.joinpath("eval", "predictions", "test.json").stat().st_size < 50_000 * 8 + 200


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "3",
        '{"fingerprint": "m", "labels": [1]}',
        '{"labels": [1], "predicted": [1]}',
        '{"fingerprint": "m", "labels": [1, 2], "predicted": [1]}',
        '{"fingerprint": "m", "labels": [0.5], "predicted": [1]}',
        '{"fingerprint": "m", "labels": [[1]], "predicted": [[1]]}',
        '{"fingerprint": "m", "labels": [[1], [1, 2]], "predicted": [1]}',
        '{"fingerprint": "m", "labels": [], "predicted": []}',
        '{"fingerprint": "m", "labels": [1], "predicted": [1], "confidence": [0.5, 0.5]}',
        '{"fingerprint": "m", "labels": [1], "predicted": [1], "confidence": ["sure"]}',
        '{"fingerprint": "m", "labels": ["a"], "predicted": ["a"]}',
    ],
)
def test_damage_is_told_with_the_command_that_mends_it(tmp_path: Path, content: str) -> None:
    run = Run(tmp_path / "shapes" / "first")
    path = run.path("eval", "predictions", "test.json")
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(RunError, match=rf"{path} (is damaged|holds no predictions)") as raised:
        read_predictions(run, "test.json")
    assert raised.value.hint == f"Type: noah eval --again --run {run.folder}"


def test_missing_predictions_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"test\.json is missing\."):
        read_predictions(Run(tmp_path), "test.json")
