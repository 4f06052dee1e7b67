from __future__ import annotations

import os
from pathlib import Path

import pytest

from noah.data.sources.class_folders import find_classes
from noah.data.sources.folder import load_folder
from noah.errors import DataError
from tests.noah.data.conftest import WriteImages


def test_classes_are_sorted_plainly_and_images_found_at_any_depth(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("9", "10", "Zebra", "ant"):
        write_images(tmp_path / name, 1)
    write_images(tmp_path / "ant" / "more" / "deeper", 2, ".JPG")
    found = find_classes(tmp_path)
    assert list(found.images) == ["10", "9", "Zebra", "ant"]
    assert [str(path.relative_to(tmp_path)) for path in found.images["ant"]] == [
        "ant/0.png",
        "ant/more/deeper/0.JPG",
        "ant/more/deeper/1.JPG",
    ]
    split = found.split(tuple(found.images))
    assert split.labels.tolist() == [0, 1, 2, 3, 3, 3] and len(split.paths) == 6


def test_other_files_are_counted_and_hidden_ones_skipped(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("a", "b", ".cache", "a/.thumbnails"):
        write_images(tmp_path / name, 1)
    (tmp_path / "a" / "._0.png").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("x")
    (tmp_path / "readme.md").write_text("x")
    found = find_classes(tmp_path)
    assert {name: len(paths) for name, paths in found.images.items()} == {"a": 1, "b": 1}
    assert found.ignored == 2


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "elsewhere", 2)
    write_images(tmp_path / "set" / "a", 1)
    write_images(tmp_path / "set" / "b", 1)
    linked = tmp_path / "set" / "a" / "linked"
    linked.symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "a" / "linked-again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "a" / "circle").symlink_to(tmp_path / "set" / "a")
    (tmp_path / "set" / "a" / "up").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "a" / "itself").symlink_to(tmp_path / "set" / "a" / "itself")
    (tmp_path / "set" / "c").symlink_to(tmp_path / "elsewhere")
    found = find_classes(tmp_path / "set")
    assert found.images["a"] == [tmp_path / "set" / "a" / "0.png", linked / "0.png", linked / "1.png"]
    assert len(found.images["b"]) == 1 and len(found.images["c"]) == 2


def test_a_dangling_link_with_an_image_name_stays_to_be_reported(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "a", 1)
    (tmp_path / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    assert tmp_path / "a" / "gone.png" in find_classes(tmp_path).images["a"]


def test_images_beside_the_class_folders_are_refused(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "a", 1)
    write_images(tmp_path, 5)
    with pytest.raises(DataError, match=r"lie directly in .*: 0\.png, 1\.png, 2\.png and 2 more") as caught:
        find_classes(tmp_path)
    assert "FOLDER/<class>/<image>" in caught.value.hint


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no class folders") as caught:
        find_classes(tmp_path)
    assert "FOLDER/train/<class>/<image>" in caught.value.hint


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot list .*absent: no such file or directory"):
        find_classes(tmp_path / "absent")


def test_a_class_folder_that_is_no_utf_8_is_refused_in_words_that_print(
    tmp_path: Path, write_images: WriteImages
) -> None:
    write_images(tmp_path / "a", 1)
    try:
        write_images(tmp_path / os.fsdecode(b"caf\xe9"), 1)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    with pytest.raises(DataError, match=r"caf\\xe9 is not valid UTF-8") as caught:
        find_classes(tmp_path)
    assert str(caught.value).encode()
    assert caught.value.hint.startswith("Rename it")


def test_every_name_that_is_no_utf_8_is_told_at_once(tmp_path: Path, write_images: WriteImages) -> None:
    root = tmp_path / os.fsdecode(b"d\xe9")
    try:
        for name in ("a", os.fsdecode(b"caf\xe9"), os.fsdecode(b"\xff")):
            for split in ("train", "val"):
                write_images(root / split / name, 2)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    with pytest.raises(DataError, match="names are not valid UTF-8") as caught:
        load_folder(root, seed=0, validation_fraction=0.2, test_fraction=0.2)
    told = caught.value.problem
    assert told.startswith("5 names are not valid UTF-8: the folder ")
    assert all(rf"d\xe9/{split}/{name}" in told for split in ("train", "val") for name in (r"caf\xe9", r"\xff"))
    assert str(caught.value).encode()


def test_a_dataset_in_the_working_folder_is_refused_for_the_name_of_that_folder(
    tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / os.fsdecode(b"d\xe9")
    try:
        for name in ("a", "b"):
            write_images(root / name, 4)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    monkeypatch.chdir(root)
    with pytest.raises(DataError, match=r"The name of the folder .*d\\xe9 is not valid UTF-8") as caught:
        load_folder(Path(), seed=0, validation_fraction=0.2, test_fraction=0.2)
    assert str(caught.value).encode()


def test_images_may_have_any_name(tmp_path: Path, write_images: WriteImages) -> None:
    """They are read under that name, and written as text."""
    for name in ("a", "b"):
        write_images(tmp_path / name, 3)
        try:
            (tmp_path / name / "0.png").rename(tmp_path / name / os.fsdecode(b"caf\xe9.png"))
        except OSError:
            pytest.skip("this file system has only names in UTF-8")
    data = load_folder(tmp_path, seed=0, validation_fraction=0.3, test_fraction=0.3)
    assert len(data.train) == 2
