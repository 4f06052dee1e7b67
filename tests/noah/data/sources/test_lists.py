from __future__ import annotations

from pathlib import Path

import pytest

from noah.data.sources.lists import ImageList, read_class_names, read_list
from noah.errors import DataError
from tests.noah.data.conftest import WriteImages


@pytest.fixture
def folder(tmp_path: Path, write_images: WriteImages) -> Path:
    write_images(tmp_path / "a", 3)
    write_images(tmp_path / "b" / "my photos", 3)
    return tmp_path


def read(folder: Path, content: bytes | str, *, classes: int | None = 5, allow_repeats: bool = False) -> ImageList:
    path = folder / "some.list"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_list(
        path,
        (folder / "a", folder / "b"),
        classes=classes,
        dataset="mine",
        layout="The layout.",
        allow_repeats=allow_repeats,
    )


def test_images_are_taken_from_the_first_folder_that_holds_them(folder: Path) -> None:
    listed = read(folder, "0.png 4\nmy photos/1.png 0\n")
    assert listed.split.paths == (folder / "a" / "0.png", folder / "b" / "my photos" / "1.png")
    assert listed.split.labels.tolist() == [4, 0] and listed.repeats == 0
    assert [str(image) for image in listed.images] == ["0.png", "my photos/1.png"]


def test_mark_windows_lines_and_blank_lines_do_no_harm(folder: Path) -> None:
    listed = read(folder, b"\xef\xbb\xbf0.png 1\r\n\r\nmy photos/2.png  2\t\r\n")
    assert listed.split.labels.tolist() == [1, 2]


@pytest.mark.parametrize("path", ["", "/etc/0.png", "C:\\0.png", "../a/0.png", "my photos/../0.png"])
def test_a_path_that_is_none_or_leads_out_is_refused(folder: Path, path: str) -> None:
    with pytest.raises(DataError, match=r"some\.list, line 2: .*(is not of the form|leads out of the folder)"):
        read(folder, f"0.png 1\n{path} 1\n")


def test_a_label_out_of_range_is_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 1: label 5 is too large; mine has the 5 labels 0 to 4"):
        read(folder, "0.png 5\n")
    assert read(folder, "0.png 5\n", classes=None).split.labels.tolist() == [5]


def test_a_repeated_line(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 3: 0\.png is listed already in line 1"):
        read(folder, "0.png 1\n1.png 1\n0.png 1\n")
    listed = read(folder, "0.png 1\n0.png 1\n1.png 1\n", allow_repeats=True)
    assert (len(listed.split), listed.repeats) == (2, 1)


def test_one_image_with_two_labels_is_refused_in_any_case(folder: Path) -> None:
    for allow_repeats, problem in ((False, "is listed already"), (True, "has the label 2 here and 1 in line 1")):
        with pytest.raises(DataError, match=f"line 2: .*{problem}"):
            read(folder, "0.png 1\n0.png 2\n", allow_repeats=allow_repeats)


def test_missing_images_are_counted_with_the_folders_looked_in(folder: Path) -> None:
    with pytest.raises(DataError, match=r"lists 4 images that do not exist below .*a or .*b: 6\.png \(line 1\),.*\.\."):
        read(folder, "".join(f"{number}.png 0\n" for number in (6, 0, 7, 8, 9)))


def test_missing_empty_and_binary_lists(folder: Path) -> None:
    with pytest.raises(DataError, match=r"none\.list is missing") as caught:
        read_list(folder / "none.list", (folder,), classes=2, dataset="mine", layout="The layout.")
    assert caught.value.hint == "The layout."
    with pytest.raises(DataError, match="lists no image"):
        read(folder, "\n \n")
    with pytest.raises(DataError, match="is not a UTF-8 text file"):
        read(folder, b"\xff\xfe0")


def test_class_names_come_from_their_file_or_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "classes.txt"
    assert read_class_names(path, 3, "mine") == ("0", "1", "2")
    path.write_bytes(b"\xef\xbb\xbfan ant\r\nbee\r\ncat\r\n")
    assert read_class_names(path, 3, "mine") == ("an ant", "bee", "cat")
    path.write_text("ant\nant\ncat\n")
    with pytest.raises(DataError, match=r"classes\.txt holds 2 different names; mine has 3 classes"):
        read_class_names(path, 3, "mine")
