from __future__ import annotations

from pathlib import Path

import pytest

from noah.data.sources.catalogue import ON, Entry, list_datasets
from noah.data.sources.drawn import faces
from noah.data.sources.drawn.sets import RENDERED
from noah.data.sources.drawn.shifts import SHIFTS
from noah.data.sources.imagenet_variants import VARIANTS
from noah.data.sources.registry import dataset_names
from tests.few_shot import write_few_shot

SHIFT_NAMES = [shift.name for shift in SHIFTS]


def entries(data_root: Path) -> dict[tuple[str, str], Entry]:
    return {(entry.name, entry.group): entry for entry in list_datasets(data_root)}


def test_every_name_is_listed(tmp_path: Path) -> None:
    listed = list_datasets(tmp_path)
    assert {entry.name for entry in listed} == {*dataset_names(), *(known.name for known in (*VARIANTS, *SHIFTS))}
    assert len({(entry.name, entry.group) for entry in listed}) == len(listed) == 2 + 6 + 19 + 6 + 4 + 6


def test_an_empty_data_root_has_what_needs_no_files(tmp_path: Path) -> None:
    listed = entries(tmp_path / "none")
    assert [name for (name, _), entry in listed.items() if entry.present] == ["digits", *RENDERED, *SHIFT_NAMES]
    for name in RENDERED:
        classes = RENDERED[name]().classes
        assert listed[name, "rendered"] == Entry(name, "rendered", len(classes), True, "rendered by noah")
    for shift in SHIFTS:
        expected = Entry(shift.name, ON, len(shift.load().classes), True, f"for {shift.source}")
        assert listed[shift.name, ON] == expected
    assert listed["dtd", "natural"].where == "missing: vtab-1k/dtd"
    assert "downloaded" in listed["cifar", "natural"].where and "not VTAB's split" in listed["cifar", "natural"].where
    assert listed["oxford_pets", "few-shot"].where == "missing: few-shot/oxford_pets"


def test_without_matplotlib_its_letters_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    missing = {name for (name, _), entry in entries(tmp_path).items() if entry.where == "missing: matplotlib"}
    fonts = {shift.name for shift in SHIFTS if shift.needs_fonts}
    assert missing == {"rendered_letters", "rendered_letters_sans"} | fonts and "rendered_digits" in fonts


def test_what_is_there_is_told_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "vtab-1k" / "svhn").mkdir(parents=True)
    (tmp_path / "vtab-1k" / "svhn" / "train800.txt").touch()
    (tmp_path / "dtd.tar.gz").touch()
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "imagenet-rendition").mkdir()
    (tmp_path / "few-shot" / "fgvc-aircraft" / "annotations").mkdir(parents=True)
    write_few_shot(tmp_path / "few-shot" / "food-101", classes=1, shots=(16, 1))
    listed = entries(tmp_path)
    drawn = {*RENDERED, *SHIFT_NAMES}
    assert {name: entry.where for (name, _), entry in listed.items() if entry.present and name not in drawn} == {
        "digits": "comes with scikit-learn",
        "cifar10": "cifar-10-batches-py",
        "cifar": "cifar-100-python: not VTAB's split",
        "dtd": "dtd.tar.gz, unpacked at first use",
        "svhn": "vtab-1k/svhn",
        "food101": "few-shot/food-101: shots 1, 16",
        "imagenet-r": "imagenet-rendition",
    }
    assert listed["fgvc_aircraft", "few-shot"].where == "few-shot/fgvc-aircraft: missing: its training lists"
