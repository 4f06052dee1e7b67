"""`noah datasets check`: one page about all images of a dataset, the same for machines, and what a run would refuse."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.main import get_command

import noah.data.split as split_module
from noah.data.decode import Source, open_image
from noah.data.decoding import Decoding
from noah.errors import UnreadableImageError
from noah_cli.app import app
from tests.commands import Outcome, noah
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE
from tests.noah.data.test_deep import deep_png


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `photos` with train, val and test in the working folder."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(photo_folder, tmp_path / "photos")
    return Path("photos")


def check(*arguments: object) -> Outcome:
    return noah("datasets", "check", *arguments)


def found(*arguments: object) -> dict[str, Any]:
    """What --json prints."""
    result: dict[str, Any] = json.loads(check(*arguments, "--json").out)
    return result


def test_a_page_of_eighty_columns(photos: Path) -> None:
    outcome = check(photos)
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) < 25
    assert "data photos: 3 classes; 36 training, 18 validation, 18 test images" in outcome.words
    assert "class training validation test" in outcome.words and "circle 12 6 6 square 12 6 6" in outcome.words
    assert "sizes all are 40 x 32 pixels shapes all wide" in outcome.words
    assert "fine A run would refuse nothing here. next noah search --data photos" in outcome.words


def test_many_classes_stay_on_one_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        folder = tmp_path / "many" / f"{'very ' * 12}long {number:02}"
        folder.mkdir(parents=True)
        for image in range(5 + number % 2):
            Image.new("RGB", (9, 9), (number, image, 7)).save(folder / f"{image}.png")
    outcome = check("many")
    assert outcome.code == 0 and max(map(len, outcome.out.splitlines())) <= 80
    assert "... 28 others" in outcome.words and len(outcome.out.splitlines()) < 40
    assert len(found("many")["classes"]) == 40


def test_what_is_there_twice(photos: Path) -> None:
    shutil.copy(photos / "train/circle/01.png", photos / "train/square/wrong.png")
    shutil.copy(photos / "train/circle/02.png", photos / "train/circle/again.png")
    shutil.copy(photos / "train/circle/03.png", photos / "val/circle/again.png")
    shutil.copy(photos / "val/square/00.png", photos / "test/square/again.png")
    outcome = check(photos)
    assert outcome.code == 0  # a run warns of these
    words = outcome.words
    assert "same 2 training images more than once in that split" in words
    assert (
        "1 training image with several labels: train/circle/01.png is circle and train/square/wrong.png square" in words
    )
    assert (
        "WARNING: 1 validation image also among the training images: val/circle/again.png is train/circle/03.png"
        in words
    )
    assert "WARNING: 1 test image also among the validation images: test/square/again.png is val/square/00.png" in words
    json_found = found(photos)
    assert json_found["splits"]["training"]["repeated_with_other_labels"] == [
        ["photos/train/circle/01.png", "photos/train/square/wrong.png"]
    ]
    exact = {tuple(entry["splits"]): entry["exact"] for entry in json_found["overlaps"]}
    assert exact == {
        ("training", "validation"): [["photos/train/circle/03.png", "photos/val/circle/again.png"]],
        ("training", "test"): [],
        ("validation", "test"): [["photos/val/square/00.png", "photos/test/square/again.png"]],
    }


def test_nearly_the_same(photos: Path) -> None:
    Image.open(photos / "train/circle/03.png").resize((80, 64)).save(photos / "test/circle/large.jpg", quality=95)
    assert found(photos)["overlaps"][1]["near"] is None
    assert found(photos, "--near")["overlaps"][1]["near"] == [
        ["photos/train/circle/03.png", "photos/test/circle/large.jpg"]
    ]
    outcome = check(photos, "--near")
    assert outcome.code == 0
    assert (
        "near WARNING: 1 test image in another form among the training images: test/circle/large.jpg" in outcome.words
    )


@pytest.mark.parametrize("copied", ["val", "test"])
def test_copies_are_refused(photos: Path, copied: str) -> None:
    shutil.rmtree(photos / copied)
    shutil.copytree(photos / "train", photos / copied)
    outcome = check(photos)
    assert outcome.code == 1 and outcome.err == ""
    assert "images are copies: each of them is also among the training images" in outcome.words
    assert "fine" not in outcome.words and "next" not in outcome.words
    assert len(found(photos)["refusals"]) == 1
    assert check(photos, "--allow-copies").code == 0


def test_damaged_and_unusual_images(photos: Path) -> None:
    (photos / "train/circle/bad.png").write_bytes(b"nothing")
    (photos / "test/circle/bad.jpg").write_bytes(b"nothing either")
    Image.new("RGBA", (200, 40), (9, 9, 9, 99)).save(photos / "val/circle/clear.png")
    outcome = check(photos)
    assert outcome.code == 1
    assert "refused 1 of 56 images cannot be read, which is 1.79 %; up to 1 % may be left out:" in outcome.words
    assert "refused 1 of 19 images cannot be read" in outcome.words
    assert "1 image more than 3 times as long as wide" in outcome.words
    splits = found(photos)["splits"]
    assert [entry["image"] for entry in splits["training"]["damaged"]] == ["photos/train/circle/bad.png"]
    assert splits["validation"]["unusual"] == [{"image": "photos/val/circle/clear.png", "kind": "transparent"}]
    skipped = check(photos, "--damaged", "skip")
    assert skipped.code == 0
    assert "cannot be read and are left out" in skipped.words and "laid on white" in skipped.words


def twelve_bits(folder: Path, dark: int) -> list[Path]:
    """Two different photos of 12 bits that are one and the same 8-bit image if they are read as 16 bits."""
    values = np.full((32, 40), dark, np.uint16)
    values[0, 0] = 4095
    paths = [folder / "a.png", folder / "b.png"]
    for number, path in enumerate(paths):
        values[16:, 20:] = dark + 16 * number
        path.write_bytes(deep_png(values))
    return paths


def test_images_of_twelve_bits_are_hashed_as_a_run_reads_them(photos: Path) -> None:
    twelve_bits(photos / "train/circle", 600)
    values = found(photos)
    assert values["splits"]["training"]["repeated"] == []
    assert [40, 32, 38] in values["splits"]["training"]["sizes"]
    assert any("read as 12 bits" in note for note in values["notes"])
    assert found(photos, "--bit-depth", 16)["splits"]["training"]["repeated"] == [
        ["photos/train/circle/a.png", "photos/train/circle/b.png"]
    ]


def test_deep_test_images_are_hashed_as_the_training_images_are_read(photos: Path) -> None:
    same, other = twelve_bits(photos / "train/circle", 600)
    shutil.copy(same, photos / "test/circle/copy.png")
    other.rename(photos / "test/circle/other.png")
    assert found(photos)["overlaps"][1]["exact"] == [["photos/train/circle/a.png", "photos/test/circle/copy.png"]]


def test_labels_are_compared_by_features_of_the_settled_depth(
    photos: Path, tiny_backbone_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Decoding] = []

    def noting(source: Source, decoding: Decoding) -> Image.Image:
        if str(source).endswith("a.png"):
            opened.append(decoding)
        return open_image(source, decoding)

    twelve_bits(photos / "train/circle", 600)
    monkeypatch.setattr(split_module, "open_image", noting)
    backbone = ("--backbone", tiny_backbone_file, "--backbone-arch", TINY_ARCHITECTURE, "--image-size", TINY_IMAGE_SIZE)
    assert check(photos, "--labels", *backbone).code == 0
    assert {decoding.bit_depth for decoding in opened} == {12} and len(opened) == 2


def test_wrong_labels(photos: Path, tiny_backbone_file: Path) -> None:
    """The tiny backbone knows nothing, but tells one plain color from another."""
    rng = np.random.default_rng(0)
    for name, color in (("red", (220, 30, 30)), ("blue", (30, 30, 220))):
        folder = Path("colors") / name
        folder.mkdir(parents=True)
        for number in range(14):
            noise = rng.integers(-20, 20, (32, 32, 3))
            Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    (Path("colors") / "red" / "3.png").rename("colors/blue/moved.png")
    backbone = ("--backbone", tiny_backbone_file, "--backbone-arch", TINY_ARCHITECTURE, "--image-size", TINY_IMAGE_SIZE)
    outcome = check("colors", "--labels", *backbone)
    assert outcome.code == 0
    assert "labels 1 image with the looks of another class:" in outcome.words
    assert "blue/moved.png is labeled blue; 10 of its 10 nearest are red" in outcome.words
    (suspicious,) = found("colors", "--labels", *backbone)["suspicious_labels"]
    assert suspicious == {
        "image": "colors/blue/moved.png",
        "label": "blue",
        "neighbors": "red",
        "agreeing": 10,
        "of": 10,
    }
    assert found("colors")["suspicious_labels"] is None


def test_groups(photos: Path) -> None:
    outcome = check(photos, "--groups", r"train/(\w+/\d)|test/(x)")
    assert outcome.code == 0 and "groups 6 groups in 36 training images" in outcome.words
    outcome = check(photos, "--groups", r"(\d+)\.png")
    assert outcome.code == 1 and "6 groups are in more than one split" in outcome.err
    shutil.rmtree(photos / "val")
    outcome = check(photos, "--groups", r"(\d+)\.png")
    assert outcome.code == 0
    assert "WARNING: 6 groups among the test images and the others" in outcome.words


def test_one_group_and_images_without_any(photos: Path) -> None:
    outcome = check(photos, "--groups", r"train/(circle)/|val/circle/(00)|val/(x)|test/(x)")
    assert outcome.code == 0 and "groups 1 group in 36 training images" in outcome.words
    assert "finds 1 group among 54 images" in outcome.words
    assert found(photos, "--groups", r"train/(circle/0[1-3])")["groups"] == 3


def test_the_next_line_repeats_the_options(photos: Path) -> None:
    Path("more.yaml").write_text("supernet: {epochs: 30}\n")
    typed = (
        "--groups '(train/.*)\\.png' --damaged skip --alpha black --bit-depth 12 --allow-copies --near --seed 0 "
        "--backbone-arg a=1 --backbone-arg b=2 --image-size 32 --config more.yaml --threads 1"
    )
    outcome = check(photos, *shlex.split(typed))
    assert outcome.code == 0, outcome.err
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("next"))
    words = shlex.split(line)[1:]
    assert words[:4] == ["noah", "search", "--data", "photos"]
    assert sorted(words[4:]) == sorted(shlex.split(typed))
    assert "--labels" not in words


def test_every_option_but_labels_goes_with_the_search(photos: Path) -> None:
    """So all of them may stand in the line that says what to type next."""
    commands: Any = get_command(app).commands  # type: ignore[attr-defined]  # a group of commands
    own, of_search = (
        {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        for command in (commands["datasets"].commands["check"], commands["search"])
    )
    assert own - of_search == {"--labels"}


@pytest.mark.parametrize(("settings", "images"), [("folder: photos", "digits"), ("dataset: digits", "photos")])
def test_the_next_line_replaces_what_the_settings_file_names(photos: Path, settings: str, images: str) -> None:
    Path("noah.yaml").write_text(f"data: {{{settings}}}\n")
    outcome = check(images)
    line = next(line for line in outcome.out.splitlines() if line.startswith("next"))
    told = noah(*shlex.split(line)[2:], "--recipe", "demo", "--dry-run", "--backbone", "no such").err
    assert "Two datasets" not in told and "no such" in told


def test_an_image_that_was_looked_at_and_cannot_be_opened_is_damaged(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(source: Source, decoding: Decoding) -> Image.Image:
        if str(source).endswith("circle/02.png"):
            raise UnreadableImageError("Cannot read it: gone.", "", "gone.")
        return open_image(source, decoding)

    monkeypatch.setattr(split_module, "open_image", failing)
    outcome = check(photos)
    assert outcome.code == 1 and "images cannot be read" in outcome.words
    damaged = found(photos)["splits"]["training"]["damaged"]
    assert [entry["reason"] for entry in damaged] == ["gone."]
    assert damaged[0]["image"].endswith("circle/02.png")


@pytest.mark.parametrize("test", ["none", "a class that training lacks"])
def test_a_test_set_that_is_missing_or_wrong(photos: Path, test: str) -> None:
    if test == "none":
        shutil.rmtree(photos / "test")
    else:
        (photos / "test/circle").rename(photos / "test/ellipse")
    outcome = check(photos)
    assert outcome.code == (test != "none")
    assert ("has no test split" if test == "none" else "has a class that photos/train lacks: ellipse") in outcome.words


@pytest.mark.parametrize("kind", ["name", "table", "shard", "settings file"])
def test_whatever_a_run_takes(photos: Path, kind: str) -> None:
    arguments: tuple[str, ...] = ("digits",)
    if kind == "table":
        rows = [f"{path},{path.parent.name},{path.parents[1].name}" for path in sorted(photos.rglob("*.png"))]
        Path("labels.csv").write_text("\n".join(["path,label,split", *rows]))
        arguments = ("labels.csv",)
    elif kind == "shard":
        with tarfile.open("0.tar", "w") as archive:
            for number, path in enumerate(sorted(photos.rglob("*.png"))):
                for ending, content in (("png", path.read_bytes()), ("cls", path.parent.name.encode())):
                    entry = tarfile.TarInfo(f"{number}.{ending}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        arguments = ("0.tar",)
    elif kind == "settings file":
        Path("noah.yaml").write_text("data: {folder: photos}\n")
        arguments = ()
    outcome = check(*arguments)
    assert outcome.code == 0, outcome.err
    images = 1797 if kind == "name" else 72
    assert sum(part["images"] for part in found(*arguments)["splits"].values()) == images


def test_a_name_replaces_the_folder_of_the_settings_file(photos: Path) -> None:
    Path("noah.yaml").write_text("data: {folder: photos}\n")
    assert "data digits: 10 classes" in check("digits").words


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("no/such/folder",), 2, "no/such/folder does not exist"),
        (("digit",), 2, "Did you mean digits?"),
        ((), 2, "No dataset is given"),
        (("",), 2, "IMAGES is empty"),
        (("photos/train/circle",), 1, "Images lie directly in"),
        (("photos", "--groups", "patient"), 2, "is the name of a column"),
    ],
)
def test_what_cannot_be_checked(photos: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    outcome = check(*arguments)
    assert outcome.code == code and told in outcome.err


def test_the_list_of_datasets_is_still_there(photos: Path) -> None:
    assert noah("datasets").out.startswith("Looked for in data;")
    assert noah("datasets", "chekc").code == 2
