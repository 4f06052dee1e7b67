"""Nothing of the test split is opened before `noah eval`, and `noah eval` does open it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import noah, write_settings
from tests.conftest import TinySettings
from tests.opened import opened_paths
from tests.vtab import LISTS, write_vtab


def road_until_eval(search: tuple[object, ...]) -> tuple[set[Path], set[Path]]:
    """What search, retrain and export open, and what eval opens then."""
    with opened_paths() as before:
        for arguments in (search, ("retrain",), ("export", "--format", "onnx")):
            assert noah(*arguments).code == 0
    with opened_paths() as by_eval:
        assert noah("eval").code == 0
    return before, by_eval


def below(folder: Path) -> Callable[[Path], bool]:
    return lambda path: path == folder or folder in path.parents


def test_a_folder_with_its_own_test_folder(
    tmp_path: Path, tiny_settings: TinySettings, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = shutil.copytree(photo_folder, tmp_path / "photos")
    write_settings(tmp_path, tiny_settings({"data.folder": "photos"}))

    before, by_eval = road_until_eval(("search",))

    in_test = below(photos / "test")
    assert len([path for path in before if below(photos / "train")(path) and path.suffix == ".png"]) == 36
    assert not list(filter(in_test, before))
    assert {path for path in by_eval if in_test(path) and path.suffix == ".png"} == set(photos.glob("test/*/*.png"))


@pytest.mark.slow
def test_a_folder_that_the_seed_splits(
    tmp_path: Path, tiny_settings: TinySettings, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = shutil.copytree(photo_folder / "train", tmp_path / "photos")  # classes at the top, no splits
    write_settings(tmp_path, tiny_settings({"data.folder": "photos"}))

    before, by_eval = road_until_eval(("search",))

    images = set(photos.glob("*/*.png"))
    tested = images & by_eval
    assert len(tested) == 6  # round(0.2 * 12) of each class
    assert images & before == images - tested


@pytest.mark.slow
def test_vtab(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tiny_settings()
    del settings["data"]
    write_settings(tmp_path, settings)
    task = write_vtab(tmp_path / "data" / "cifar")

    before, by_eval = road_until_eval(("search", "--dataset", "cifar100"))

    test_images = set(task.glob("images/test/*.png"))
    assert len(test_images) == LISTS["test"]
    assert not before & {*test_images, task / "test.txt", task / "images" / "test"}
    assert set(task.glob("images/train800/*.png")) <= before
    assert {*test_images, task / "test.txt"} <= by_eval
