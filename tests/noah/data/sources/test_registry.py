from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from noah.data.dataset import Dataset
from noah.data.sources import cifar, registry
from noah.data.sources.digits import load_digits
from noah.data.sources.drawn.sets import RENDERED
from noah.data.sources.drawn.shifts import SHIFTS, Shift
from noah.data.sources.registry import SOURCES, dataset_names, load_dataset
from noah.data.sources.source import Source, named
from noah.data.sources.vtab import named_task
from noah.errors import DatasetNotFoundError, DownloadError, UsageError
from noah.settings.settings import DataSettings
from tests.few_shot import write_few_shot
from tests.noah.data.conftest import WriteImages


def load(name: str | None, folder: Path | None, data_root: Path, **few_shot: Any) -> Dataset:
    data = DataSettings(dataset=name, folder=None if folder is None else str(folder), root=str(data_root), **few_shot)
    return load_dataset(data, seed=0)


@pytest.fixture
def data_root(tmp_path: Path, write_images: WriteImages) -> Path:
    """A data root with VTAB's cifar and dtd, the latter under vtab-1k."""
    for place in ("cifar100", "vtab-1k/dtd"):
        for split in ("train800", "val200", "test"):
            write_images(tmp_path / place / "images" / split, 2)
            (tmp_path / place / f"{split}.txt").write_text(f"images/{split}/0.png 0\nimages/{split}/1.png 1\n")
    return tmp_path


def test_names() -> None:
    assert len(set(dataset_names())) == len(dataset_names()) == 32
    assert {"digits", "cifar10", "cifar", "dtd", "oxford_pets", "imagenet", *RENDERED} <= set(dataset_names())


def test_digits_by_name(tmp_path: Path) -> None:
    assert load("Digits", None, tmp_path).notes == load_digits(seed=0, validation_fraction=0.2).notes


@pytest.mark.parametrize("name", ["rendered_dsprites_loc", "rendered-dsprites-ori", "Rendered-Letters", "Shapes-Count"])
def test_a_rendered_set_is_the_same_whatever_the_settings(tmp_path: Path, name: str) -> None:
    dataset = load(name, None, tmp_path / "none")
    other = load_dataset(DataSettings(dataset=name, validation_fraction=0.5, test_fraction=0.5), seed=7)
    assert dataset.name == name.lower().replace("-", "_") and dataset.notes == other.notes
    assert "the same for every seed and validation fraction" in dataset.notes[-1]
    for split, same in ((dataset.train, other.train), (dataset.validation, other.validation)):
        assert [split.name(index) for index in range(len(split))] == [same.name(index) for index in range(len(same))]


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_a_shift_is_not_trained_on(tmp_path: Path, shift: Shift) -> None:
    with pytest.raises(UsageError, match=f"{shift.name} has test images only") as caught:
        load(shift.name.upper().replace("_", "-"), None, tmp_path)
    assert f"--dataset {shift.source};" in caught.value.hint and shift.source in dataset_names()


def test_a_task_by_name(data_root: Path) -> None:
    dataset = load("DTD", None, data_root)
    assert dataset.name == "dtd" and dataset.train.name(0) == str(data_root / "vtab-1k/dtd/images/train800/0.png")


def test_a_folder(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("a", "b"):
        write_images(tmp_path / "mine" / name, 5)
    assert load(None, tmp_path / "mine", tmp_path).name == "mine"


@pytest.mark.parametrize("name", ["cifar", "cifar100", "CIFAR-100"])
def test_cifar_prefers_the_folder_of_vtab_and_says_so(data_root: Path, name: str) -> None:
    dataset = load(name, None, data_root)
    assert dataset.name == "cifar" and len(dataset.classes) == 100
    assert f"VTAB-1k's is used, because {data_root / 'cifar100'} exists" in dataset.notes[0]


def test_cifar_falls_back_to_torchvision_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stand_in(data_root: Path, **settings: Any) -> Dataset:
        assert data_root == tmp_path
        return load_digits(**settings)

    monkeypatch.setattr(named_task, "load_cifar100", stand_in)
    dataset = load("cifar100", None, tmp_path)
    assert f"torchvision's is used, because {tmp_path} has no VTAB-1k cifar folder" in dataset.notes[0]
    assert "noah's own split" in dataset.notes[1]


def test_cifar_without_folder_or_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str, timeout: float) -> Any:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(DownloadError, match="timed out"):
        load("cifar100", None, tmp_path)


def test_exactly_one_of_name_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Both --dataset and --data"):
        load("digits", tmp_path, tmp_path)
    with pytest.raises(UsageError, match="No dataset is given"):
        load(None, None, tmp_path)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("digit", "digits"),
        ("oxford_petz", "oxford_pet"),
        ("SVNH", "svhn"),
        ("shape_counts", "shapes_count"),
        ("rendered_digit", "rendered_digits"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(tmp_path: Path, typed: str, meant: str) -> None:
    with pytest.raises(DatasetNotFoundError, match=f"No dataset is named {typed}") as caught:
        load(typed, None, tmp_path)
    assert f"Did you mean {meant}?" in caught.value.hint


def test_an_unknown_name_like_no_other_and_one_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError) as caught:
        load("xxxxxxxxxx", None, tmp_path)
    assert "--data FOLDER" in caught.value.hint
    with pytest.raises(DatasetNotFoundError) as caught:
        load(str(tmp_path), None, tmp_path)
    assert caught.value.hint == f"It is a folder: type --data {tmp_path}"
    (table := tmp_path / "list.csv").write_text("path,label\n")
    with pytest.raises(DatasetNotFoundError) as caught:
        load(str(table), None, tmp_path)
    assert caught.value.hint == f"It is a file: type --data {table}"
    with pytest.raises(DatasetNotFoundError, match="There is no folder nowhere/photos, and no dataset of that name"):
        load("nowhere/photos", None, tmp_path)
    (photos := tmp_path / "my photos").mkdir()
    with pytest.raises(DatasetNotFoundError) as caught:
        load(str(photos), None, tmp_path)
    assert caught.value.hint == f"It is a folder: type --data '{photos}'"


def test_a_known_task_without_data_tells_the_places_and_the_layout(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="No VTAB-1k folder oxford_iiit_pet or oxford_pet") as caught:
        load("pets", None, tmp_path)
    for place in (tmp_path, tmp_path / "vtab-1k", tmp_path / "vtab-1k" / "vtab-1k"):
        assert str(place) in caught.value.problem
    assert "train800.txt, val200.txt and test.txt" in caught.value.hint
    assert str(tmp_path / "vtab-1k" / "oxford_iiit_pet") in caught.value.hint


def test_cifar10_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cifar, "load_cifar10", lambda data_root, **settings: load_digits(**settings))
    for name in ("cifar10", "CIFAR-10"):
        assert load(name, None, tmp_path).name == "digits"


def test_an_archive_is_unpacked_once_and_told(data_root: Path) -> None:
    shutil.make_archive(str(data_root / "eurosat"), "zip", data_root / "vtab-1k", "dtd")
    (data_root / "eurosat.zip").rename(data_root / "dtd.zip")
    shutil.rmtree(data_root / "vtab-1k")
    first, again = load("dtd", None, data_root), load("dtd", None, data_root)
    assert first.notes[0].startswith(f"{data_root / 'dtd.zip'} was unpacked to {data_root / 'dtd'}, because")
    assert first.notes[1:] == again.notes and first.train.name(0) == str(data_root / "dtd/images/train800/0.png")


def test_one_name_two_sets(tmp_path: Path, write_images: WriteImages) -> None:
    write_few_shot(tmp_path / "few-shot" / "oxford-pets", classes=2)
    for split in ("train800", "val200", "test"):
        write_images(tmp_path / "oxford_pet" / "images" / split, 2)
        (tmp_path / "oxford_pet" / f"{split}.txt").write_text(f"images/{split}/0.png 0\nimages/{split}/1.png 1\n")
    for name in ("oxford_pets", "pets", "oxford_pet"):
        task, few_shot = load(name, None, tmp_path), load(name, None, tmp_path, shots=4)
        assert (task.name, few_shot.name) == ("oxford_iiit_pet", "oxford_pets-4shot")
        assert "without --shots it is VTAB-1k's oxford_iiit_pet" in task.notes[0]
        assert "--shots 4 makes it the few-shot set oxford_pets" in few_shot.notes[0]


def test_the_list_seed_is_the_runs_unless_given(tmp_path: Path) -> None:
    write_few_shot(tmp_path / "food-101", classes=2, seeds=(0, 1))
    assert "list of food101 with seed 0" in load("food101", None, tmp_path, shots=1).notes[0]
    assert "list of food101 with seed 1" in load("food-101", None, tmp_path, shots=1, list_seed=1).notes[0]


@pytest.mark.parametrize("name", RENDERED)
def test_shots_of_what_noah_draws(tmp_path: Path, name: str) -> None:
    own, listed = load(name, None, tmp_path, shots=16), load(name, None, tmp_path, shots=16, list_seed=1)
    assert own.name == f"{name}-16shot" and len(own.train) == 16 * len(own.classes)
    assert "Seed 0 chooses 16" in own.notes[-1] and "Seed 1 chooses 16" in listed.notes[-1]
    assert load(name.upper(), None, tmp_path, shots=1).name == f"{name}-1shot"


def test_shots_where_they_do_not_belong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="digits is not a few-shot set") as caught:
        load("digits", None, tmp_path, shots=4)
    assert "fgvc_aircraft, food101" in caught.value.hint and "rendered_letters" in caught.value.hint
    with pytest.raises(UsageError, match="--shots goes with --dataset, not with --data"):
        load(None, tmp_path, tmp_path, shots=4)
    with pytest.raises(UsageError, match="--list-seed is given without --shots"):
        load("digits", None, tmp_path, list_seed=0)


@pytest.mark.parametrize("name", ["food101", "fgvc-aircraft", "stanford_cars", "ImageNet"])
def test_a_few_shot_set_needs_shots(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is a few-shot set, and no --shots are given") as caught:
        load(name, None, tmp_path)
    assert caught.value.hint == "Add --shots 1, 2, 4, 8 or 16."


def test_a_missing_few_shot_set_tells_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match="No few-shot folder stanford_cars or cars with annotations"
    ) as caught:
        load("stanford_cars", None, tmp_path, shots=1)
    assert str(tmp_path / "few-shot" / "stanford_cars") in caught.value.hint


@pytest.mark.parametrize("name", dataset_names())
def test_every_name_is_one_sources(name: str) -> None:
    data = DataSettings(dataset=name, shots=4 if name in few_shot_only() else None)
    first = next(source for source in SOURCES if source.matches(data))
    assert name in first.names


def few_shot_only() -> set[str]:
    return {"fgvc_aircraft", "food101", "oxford_flowers102", "oxford_pets", "stanford_cars", "imagenet"}


def test_a_new_source_is_one_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load_mine(data: DataSettings, seed: int) -> Dataset:
        return load_digits(seed=seed, validation_fraction=data.validation_fraction)

    mine = Source("mine", named(("mine",)), load_mine, names=("mine",), aliases=("my_own",))
    monkeypatch.setattr(registry, "SOURCES", (mine, *SOURCES))
    assert load("Mine", None, tmp_path, validation_fraction=0.5).classes == tuple("0123456789")
    assert "mine" in dataset_names()
    with pytest.raises(DatasetNotFoundError) as caught:
        load("my-owm", None, tmp_path)
    assert "Did you mean my_own?" in caught.value.hint


def test_an_option_that_does_not_apply_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match="--classes does not apply to digits, which is scikit-learn's digits"
    ) as caught:
        load("digits", None, tmp_path, classes="leaf")
    assert "it goes with a folder of class folders" in caught.value.hint


def test_the_reading_of_a_folder(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("a/x", "a/y"):
        write_images(tmp_path / name, 5)
    assert load(None, tmp_path, tmp_path, classes="leaf").classes == ("a/x", "a/y")
