from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.split import ArraySplit, FileSplit, concatenate
from noah.data.survey import survey, survey_paths

COLORS = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)


def write_all_kinds(folder: Path) -> list[Path]:
    """A whole image, three damaged ones and five unusual ones."""
    folder.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(COLORS)
    image.save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "no_end.jpg").write_bytes(content[: len(content) * 3 // 4])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.png").write_text("<html>404</html>")
    image.convert("RGBA").save(folder / "opaque.png")
    clear = image.convert("RGBA")
    clear.putpixel((0, 0), (1, 2, 3, 0))
    clear.save(folder / "clear.png")
    Image.fromarray(np.array([[0, 4095], [17, 300]], np.uint16)).save(folder / "deep.png")
    image.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (40, 48), "red")])
    return sorted(folder.iterdir())


def test_what_is_damaged_and_what_is_unusual(tmp_path: Path) -> None:
    paths = write_all_kinds(tmp_path)
    found = survey_paths(paths)
    assert found.images == len(paths)
    assert [(Path(image.name).name, image.repairable) for image in found.damaged] == [
        ("empty.jpg", False),
        ("no_end.jpg", True),
        ("page.png", False),
    ]
    assert all(image.reason.endswith(".") and paths[image.index] == Path(image.name) for image in found.damaged)
    assert [(Path(image.name).name, image.kind) for image in found.unusual] == [
        ("clear.png", "transparent"),
        ("deep.png", "16 bits"),
        ("moving.gif", "several frames"),
    ]
    assert (found.largest, found.bit_depth) == (4095, 12) and found.missing == {}
    assert len(found.of_kind("transparent")) == 1


def test_images_that_are_in_no_files_are_not_opened(tmp_path: Path) -> None:
    in_memory = ArraySplit(np.zeros((3, 2, 2), np.uint8), np.zeros(3, np.int64), "digits")
    absent = FileSplit((tmp_path / "absent.png",), np.zeros(1, np.int64))
    found = survey(concatenate(in_memory, absent))
    assert [image.index for image in found.damaged] == [3] and found.images == 4


def test_progress_ends_with_all_images(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    paths = write_all_kinds(tmp_path) * 20
    survey_paths(paths, lambda done, total: told.append((done, total)))
    assert told[-1] == (len(paths), len(paths)) and told == sorted(told)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_quick_look_finds_what_a_whole_decoding_finds(tmp_path: Path, share: float, progressive: bool) -> None:
    path = tmp_path / "cut.jpg"
    Image.fromarray(COLORS).resize((300, 200)).save(path, progressive=progressive)
    assert survey_paths([path]).damaged == ()
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert len(survey_paths([path]).damaged) == 1
