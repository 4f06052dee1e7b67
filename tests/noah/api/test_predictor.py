"""`noah.Predictor`: files, open images and arrays give the same answers as `noah predict`, in order, without torch."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import noah
from noah.hardware import cores
from tests.commands import run_python
from tests.export.real_images import write_broken
from tests.export.tiny_artifact import make_artifact
from tests.finished import Finished


@pytest.fixture(scope="module")
def predictor(finished: Finished) -> noah.Predictor:
    return noah.Predictor(finished.artifact(), provider="cpu", batch_size=4)


@pytest.fixture(scope="module")
def photos(photo_folder: Path) -> list[Path]:
    return sorted((photo_folder / "test").glob("*/*.png"))


def test_a_folder_gives_what_the_command_wrote(
    predictor: noah.Predictor, finished: Finished, photos: list[Path]
) -> None:
    with (finished.folder / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = predictor(photos[0].parents[1])
    assert [(str(one.path), one.label, f"{one.probability:.6g}") for one in found] == [
        (row["path"], row["label"], row["probability"]) for row in rows
    ]


def test_paths_images_and_arrays_mean_the_same(predictor: noah.Predictor, photos: list[Path]) -> None:
    opened = [Image.open(path) for path in photos]
    arrays = [np.asarray(image) for image in opened]
    expected = predictor.probabilities(photos)
    assert expected.shape == (len(photos), 3)
    for images in (opened, arrays, np.stack(arrays), [str(path) for path in photos], iter(photos)):
        np.testing.assert_array_equal(predictor.probabilities(images), expected)
    mixed = predictor([photos[0], opened[1], arrays[2], photos[0]])
    assert [one.path for one in mixed] == [photos[0], None, None, photos[0]]
    assert mixed[0] == mixed[3]
    for one, row in zip(mixed, expected[[0, 1, 2, 0]], strict=True):
        assert one.label == predictor.classes[int(row.argmax())]


def test_one_image_gives_a_list_of_one(predictor: noah.Predictor, photos: list[Path]) -> None:
    image = Image.open(photos[0])
    alone = [predictor(one) for one in (photos[0], image, np.asarray(image))]
    assert [len(found) for found in alone] == [1, 1, 1]
    assert len({found[0].probability for found in alone}) == 1


def test_images_are_turned_upright_and_made_rgb_as_files_are(predictor: noah.Predictor, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gray = Image.fromarray(rng.integers(0, 256, (20, 30), np.uint8))
    gray.save(tmp_path / "gray.png")
    turned = gray.convert("RGB")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    for name in ("gray.png", "turned.png"):
        np.testing.assert_array_equal(
            predictor.probabilities(Image.open(tmp_path / name)), predictor.probabilities(tmp_path / name)
        )
    np.testing.assert_array_equal(
        predictor.probabilities(np.asarray(gray)), predictor.probabilities(np.asarray(gray)[..., None])
    )


def test_the_most_likely_classes_come_first(predictor: noah.Predictor, photos: list[Path]) -> None:
    (found,) = predictor(photos[0], top_k=3)
    assert found.top[0] == (found.label, found.probability)
    values = [probability for _, probability in found.top]
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("images", "told"),
    [
        (np.zeros((4, 4, 3), np.float32), "An array of float32 (4, 4, 3) is not an image"),
        (np.zeros((4, 4, 2), np.uint8), "An array of uint8 (4, 4, 2) is not an image"),
        (np.zeros((0, 4, 3), np.uint8), "An array of uint8 (0, 4, 3) is not an image"),
        (7, "int is not an image"),
        ("nowhere.jpg", "No such file or folder: nowhere.jpg"),
        ([""], "One of the names is empty"),
    ],
)
def test_what_is_no_image_is_refused(predictor: noah.Predictor, images: Any, told: str) -> None:
    with pytest.raises(noah.errors.UsageError) as raised:
        predictor(images)
    assert told in raised.value.problem


def test_an_image_that_no_class_is_likely_enough_for_is_called_otherwise(
    predictor: noah.Predictor, photos: list[Path], tmp_path: Path
) -> None:
    certain = predictor(photos)
    least = sorted(one.probability for one in certain)[len(certain) // 2]
    found = predictor(photos, min_probability=least, other="none of them")
    assert [one.label for one in found] == [
        one.label if one.probability >= least else "none of them" for one in certain
    ]
    assert [one.top for one in found] == [one.top for one in certain]
    summary = predictor.write(photos, tmp_path / "out.csv", min_probability=least)
    with (tmp_path / "out.csv").open(newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    assert labels.count("unknown") == summary.unsure == sum(one.probability < least for one in certain) > 0
    with pytest.raises(noah.errors.UsageError, match="circle is one of the artifact's classes"):
        predictor(photos[0], min_probability=0.5, other="circle")
    with pytest.raises(noah.errors.UsageError, match=r"min_probability is 1\.5, but must be between 0 and 1"):
        predictor(photos[0], min_probability=1.5)


def test_embeddings_are_those_that_the_command_writes(
    predictor: noah.Predictor, finished: Finished, photos: list[Path], tmp_path: Path
) -> None:
    opened = noah.Predictor(finished.artifact(), provider="cpu", batch_size=4, embeddings=True)
    found = opened.embeddings(photos)
    opened.write(photos, tmp_path / "out.csv", embeddings=tmp_path / "features.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), found)
    assert found.dtype == np.float32 and len(found) == len(photos)
    np.testing.assert_allclose(opened.probabilities(photos), predictor.probabilities(photos), atol=1e-6)
    with pytest.raises(noah.errors.UsageError, match="gives no embeddings"):
        predictor.embeddings(photos)
    with pytest.raises(noah.errors.UsageError, match="gives no embeddings"):
        predictor.write(photos, tmp_path / "out.csv", embeddings=tmp_path / "features.npy")


def test_a_name_that_is_refused_begins_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    opened = noah.Predictor(make_artifact(tmp_path / "artifact"), provider="cpu", embeddings=True)
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    with pytest.raises(noah.errors.UsageError, match=r"Embeddings are written as \.npy"):
        opened.write(tmp_path / "a.png", None, embeddings=tmp_path / "features.txt")
    assert capsys.readouterr().out == ""
    with pytest.raises(noah.errors.UsageError, match="is not that of a prediction format"):
        opened.write(tmp_path / "a.png", tmp_path / "rows.txt", embeddings=tmp_path / "features.npy")
    assert not (tmp_path / "features.npy").exists()


def test_nothing_gives_nothing(predictor: noah.Predictor) -> None:
    assert predictor([]) == []
    assert predictor.probabilities([]).shape == (0, 3)


@pytest.mark.parametrize("top_k", [0, 4])
def test_more_classes_than_there_are_are_refused(predictor: noah.Predictor, photos: list[Path], top_k: int) -> None:
    with pytest.raises(noah.errors.UsageError, match=f"top_k is {top_k}, but this artifact has 3 classes"):
        predictor(photos[0], top_k=top_k)


def test_unreadable_images_are_all_told_or_left_out_of_a_table(
    predictor: noah.Predictor, photos: list[Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(photos[0].parent, tmp_path / "photos")
    broken = write_broken(folder / "broken")
    broken.remove(cut := folder / "broken" / "truncated.jpg")  # its run repairs such files, so that it does, too
    with pytest.raises(noah.errors.UnreadableImageError) as raised:
        predictor(folder)
    assert all(str(path) in raised.value.problem for path in broken)
    with pytest.warns(UserWarning, match=r"1 file without an end, .* such as .*truncated"):
        predictor([photos[0], cut])
    summary = predictor.write(folder, tmp_path / "out.csv")
    assert {path for path, _ in summary.failures} == {str(path) for path in broken}
    assert summary.images == len(list(folder.glob("*.png"))) + 1
    assert summary.remarks == ((str(cut), "repaired"),)


@pytest.mark.parametrize("number", [{"batch_size": 0}, {"workers": 0}])
def test_numbers_below_one_are_refused(finished: Finished, number: dict[str, int]) -> None:
    with pytest.raises(noah.errors.UsageError, match="is 0, but must be at least 1"):
        noah.Predictor(finished.artifact(), **number)


def test_a_predictor_that_waits_takes_no_cores_from_others(
    finished: Finished, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "known"
    monkeypatch.setattr(cores, "_known_processes", lambda: known)
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    opened = noah.Predictor(finished.artifact(), provider="cpu")
    opened(photos[0])
    assert list(known.iterdir()) == []
    seen: list[int] = []
    monkeypatch.setattr("noah.api.predictor.predict", lambda *_, **__: seen.append(len(list(known.iterdir()))))
    opened.write(photos, tmp_path / "out.csv")
    assert seen == [1] and list(known.iterdir()) == []


def test_torch_is_not_needed(finished: Finished, photos: list[Path]) -> None:
    code = (
        "import sys\nsys.modules['torch'] = None\nimport noah\n"
        "predictor = noah.Predictor(sys.argv[1], provider='cpu')\nprint(predictor(sys.argv[2])[0].label)\n"
        "print(predictor)"
    )
    outcome = run_python(code, finished.artifact(), photos[0], folder=finished.folder)
    assert outcome.code == 0, outcome.err
    label, shown = outcome.out.splitlines()
    assert label in ("circle", "square", "stripes")
    assert shown == ("<Predictor onnx-fp32 of shapes/first: 3 classes, 32 x 32 px, fp32 by CPUExecutionProvider>")
