"""Which images a run works with, so that they are known again where they have moved or more were added.

An image is known by its path below the place that `--data` names, of which a short hash is kept. One that has no path,
but only the number of its row, is known by its content, so that rows may come in between. The run folder holds the
hashes of the training and validation images in images.json, and which of them the final training leaves out; those of
the test images are with the predictions, as nobody lists a test set before it is measured.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noah.data.dataset import Dataset
from noah.data.split import Split, numbered
from noah.errors import RunError, UnreadableImageError
from noah.runs.folder import Run
from noah.settings.settings import DataSettings

IMAGES_FILE = "images.json"
_BYTES = 8
"""Of a hash: among a million images, two share one with a probability of 3 in 100 million."""
_DIGITS = 2 * _BYTES

Hashes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunImages:
    """The hashes of a run's images, in the order of its splits.

    Attributes:
        train: Of the training images.
        validation: Of the validation images.
        held_out: Of those among both that the final training leaves out (`noah.prepare.held_out`).
    """

    train: Hashes
    validation: Hashes
    held_out: Hashes = ()


def hash_images(split: Split, data: DataSettings) -> Hashes:
    """The hash of each image of a split; no image is decoded, and only one without a path is read.

    Args:
        split: The images.
        data: Says where they are.
    """
    place = _place(data)
    # A dataset with a name does not grow, so that numbers will do for its images.
    by_content = numbered(split) if place is not None else np.zeros(len(split), bool)
    return tuple(
        (_content(split, index) if content else None) or _hash(os.fsencode(_relative(split.name(index), place)))
        for index, content in enumerate(by_content.tolist())
    )


def keep_images(run: Run, dataset: Dataset, data: DataSettings, held_out: Split | None = None) -> None:
    """Write images.json of a new run.

    Args:
        run: The run.
        dataset: Its images.
        data: Says where they are.
        held_out: Those that its final training leaves out; None if it leaves none out.
    """
    value = {
        "train": pack_hashes(hash_images(dataset.train, data)),
        "validation": pack_hashes(hash_images(dataset.validation, data)),
    }
    if held_out is not None:
        value["held_out"] = pack_hashes(hash_images(held_out, data))
    run.write_json(value, IMAGES_FILE)


def read_images(run: Run) -> RunImages | None:
    """Read images.json; None if an earlier version started the run, which kept none.

    Raises:
        RunError: If it is damaged.
    """
    if not run.path(IMAGES_FILE).is_file():
        return None
    value = run.read_json(IMAGES_FILE)
    try:
        parts = (value["train"], value["validation"], value.get("held_out", ""))
        return RunImages(*map(unpack_hashes, parts))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path(IMAGES_FILE)} holds no list of images.", "Restore it from a copy.") from error


def pack_hashes(hashes: Hashes) -> str:
    """Hashes as one string, for files."""
    return "".join(hashes)


def unpack_hashes(text: str) -> Hashes:
    """Read what `pack_hashes` gave.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(text, str) or len(text) % _DIGITS or not set(text) <= set("0123456789abcdef"):
        raise ValueError("no hashes of images")
    return tuple(text[start : start + _DIGITS] for start in range(0, len(text), _DIGITS))


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=_BYTES).hexdigest()


def _content(split: Split, index: int) -> str | None:
    """The hash of an image's file or bytes; None if there are none."""
    try:
        source = split.source(index)
        if source is None:
            return None
        return _hash(Path(source).read_bytes() if isinstance(source, Path | str) else source.read())
    except (OSError, UnreadableImageError):
        return None


def _place(data: DataSettings) -> Path | None:
    """The folder that paths are relative to; None for a dataset with a name."""
    if data.folder is None:
        return None
    place = Path(data.folder)
    return place if place.is_dir() else place.parent


def _relative(name: str, place: Path | None) -> str:
    path = Path(name)
    return path.relative_to(place).as_posix() if place is not None and path.is_relative_to(place) else name
