"""--groups, in the sources that take it: the images of one patient, animal or video are on one side of every split."""

from __future__ import annotations

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.sources.registry import load_dataset
from noah.data.split import Split, groups_of
from noah.errors import DataError, SettingsError, UsageError
from noah.settings.layers import Layer, resolve
from noah.settings.settings import DataSettings

PATTERN = r"(p\d+)_"


def load(folder: Path, groups: str | None = PATTERN, seed: int = 0, **settings: Any) -> Dataset:
    return load_dataset(DataSettings(folder=str(folder), groups=groups, **settings), seed)


def write_patients(folder: Path, patients: range, images: int = 4) -> None:
    """FOLDER/<class>/p<patient>_<image>.png; patients of even numbers are of one class."""
    for patient in patients:
        place = folder / ("healthy", "ill")[patient % 2]
        place.mkdir(parents=True, exist_ok=True)
        for number in range(images):
            Image.new("RGB", (4, 4), (patient, number, 0)).save(place / f"p{patient}_{number}.png")


def patients_of(split: Split) -> set[str]:
    found = (re.search(PATTERN, Path(split.name(index)).name) for index in range(len(split)))
    return {match[1] for match in found if match}


def check_apart(dataset: Dataset, patients: int) -> None:
    parts = [patients_of(split) for split in (dataset.train, dataset.validation, dataset.load_test())]
    assert all(parts) and sum(map(len, parts)) == patients == len(set.union(*parts))


@pytest.mark.parametrize("seed", range(4))
def test_a_pattern_on_the_paths_of_a_folder(tmp_path: Path, seed: int) -> None:
    write_patients(tmp_path, range(20))
    dataset = load(tmp_path, seed=seed)
    check_apart(dataset, 20)
    assert any("finds 20 groups among 80 images" in note for note in dataset.notes)
    assert any("by its 20 groups, each on one side" in note for note in dataset.notes)
    assert any(patients_of(dataset.train) != patients_of(load(tmp_path, seed=other).train) for other in range(5, 9))


def test_validation_drawn_from_a_folder_of_training_images(tmp_path: Path) -> None:
    write_patients(tmp_path / "train", range(20))
    dataset = load(tmp_path)
    assert not patients_of(dataset.train) & patients_of(dataset.validation)
    assert len(patients_of(dataset.validation)) == 4


def test_given_folders_that_part_a_group_are_refused(tmp_path: Path) -> None:
    write_patients(tmp_path / "train", range(6))
    write_patients(tmp_path / "val", range(4, 8))
    with pytest.raises(DataError, match="2 groups are in more than one split; for example") as caught:
        load(tmp_path)
    assert caught.value.hint.endswith("or leave out --groups.")
    assert len(load(tmp_path, groups=None).validation) == 16


def test_given_folders_keep_their_groups_and_so_does_the_test_folder(tmp_path: Path) -> None:
    for name, patients in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 10))):
        write_patients(tmp_path / name, patients, images=1)
    dataset = load(tmp_path)
    found = [groups_of(split) for split in (dataset.train, dataset.validation, dataset.load_test())]
    assert found == [("p0", "p2", "p4", "p1", "p3", "p5"), ("p6", "p7"), ("p8", "p9")]


def test_what_lies_above_the_folder_does_not_match(tmp_path: Path) -> None:
    write_patients(tmp_path / "p99_photos", range(10))
    check_apart(load(tmp_path / "p99_photos"), 10)


def test_a_pattern_on_the_paths_of_a_table(tmp_path: Path) -> None:
    """It replaces a column of groups, even one with the usual name."""
    write_patients(tmp_path / "images", range(20))
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name},all" for path in sorted(tmp_path.rglob("*.png"))]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,group", *rows]))
    check_apart(load(tmp_path / "labels.csv"), 20)


def test_a_pattern_on_the_names_in_shards(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        for patient in range(20):
            for number in range(3):
                picture = io.BytesIO()
                Image.fromarray(np.full((4, 4, 3), 10 * patient + number, np.uint8)).save(picture, "PNG")
                for ending, content in (("png", picture.getvalue()), ("cls", b"ab"[patient % 2 :][:1])):
                    entry = tarfile.TarInfo(f"p{patient}_{number}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
    check_apart(load(tmp_path), 20)


def test_a_column_of_a_table(tmp_path: Path) -> None:
    write_patients(tmp_path / "images", range(20))
    paths = sorted(tmp_path.rglob("*.png"))
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name},{path.name.split('_')[0]}" for path in paths]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,patient", *rows]))
    check_apart(load(tmp_path / "labels.csv", "patient"), 20)
    with pytest.raises(DataError, match="no column video"):
        load(tmp_path / "labels.csv", "video")


def test_images_that_the_pattern_does_not_match_are_told(tmp_path: Path) -> None:
    write_patients(tmp_path, range(10))
    Image.new("RGB", (4, 4)).save(tmp_path / "ill" / "unnamed.png")
    told = next(note for note in load(tmp_path).notes if note.startswith("WARNING"))
    assert "1 image is in no group" in told and "unnamed.png" in told


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    write_patients(tmp_path, range(4))
    with pytest.raises(DataError, match="matches the path of no image, such as") as caught:
        load(tmp_path, "(video[0-9]+)")
    assert "--groups '(patient[0-9]+)'" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("(p", "is not a regular expression"),
        ("(?:p)", "needs a group in parentheses"),
        ("", "must name a column, or be a regular expression"),
    ],
)
def test_what_is_no_pattern_is_told_with_the_other_settings(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=f"data.groups.*{told}"):
        resolve([Layer(source="--groups", values={"data": {"groups": text}})])


def test_what_groups_do_not_go_with(tmp_path: Path) -> None:
    write_patients(tmp_path, range(4))
    with pytest.raises(UsageError, match=r"--groups patient is the name of a column, and .* is a folder of class"):
        load(tmp_path, "patient")
    for groups in (PATTERN, "patient"):
        with pytest.raises(UsageError, match="--groups does not apply to digits"):
            load_dataset(DataSettings(dataset="digits", groups=groups), 0)
    with pytest.raises(UsageError, match="both say what the groups are"):
        load(tmp_path, PATTERN, columns={"group": "patient"})


def test_rows_without_a_group_are_told(tmp_path: Path) -> None:
    write_patients(tmp_path / "images", range(20))
    paths = sorted(tmp_path.rglob("*.png"))
    names = [path.name.split("_")[0] for path in paths]
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in paths]
    for column, wanted in (("patient", "patient"), ("group", None)):
        lines = [f"{row},{'' if name in ('p3', 'p4') else name}" for row, name in zip(rows, names, strict=True)]
        (tmp_path / "labels.csv").write_text("\n".join([f"path,label,{column}", *lines]))
        (told,) = (note for note in load(tmp_path / "labels.csv", wanted).notes if note.startswith("WARNING"))
        assert f"8 images are in no group, because {tmp_path / 'labels.csv'} has no {column} for them" in told
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,patient", *(f"{row}," for row in rows)]))
    assert any("80 images are in no group" in note for note in load(tmp_path / "labels.csv", "patient").notes)
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    assert not any("in no group" in note for note in load(tmp_path / "labels.csv", None).notes)


def test_names_of_groups_that_unicode_takes_for_the_same_are_one_group(tmp_path: Path) -> None:
    write_patients(tmp_path / "images", range(8), images=2)
    names = {"p0_0": "Jos\u00e9", "p0_1": "Jose\u0301"}
    lines = [
        f"{path.relative_to(tmp_path)},{path.parent.name},{names.get(path.stem, path.name.split('_')[0])}"
        for path in sorted(tmp_path.rglob("*.png"))
    ]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label,patient", *lines]), encoding="utf-8")
    assert any("by its 8 groups" in note for note in load(tmp_path / "labels.csv", "patient").notes)
