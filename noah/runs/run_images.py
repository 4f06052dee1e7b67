"""Which images a run works with, so that they are known again where they have moved or more were added.

An image is known by its path below the place that `--data` names, of which a short hash is kept. The run folder holds
the hashes of the training and validation images in images.json; those of the test images are with the predictions, as
nobody lists a test set before it is measured.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.split import Split
from noah.errors import RunError
from noah.runs.folder import Run
from noah.settings.settings import DataSettings

IMAGES_FILE = "images.json"
_BYTES = 8
"""Of a hash: among a million images, two share one with a probability of 3 in 100 million."""
_DIGITS = 2 * _BYTES

Hashes = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunImages:
    """The hashes of a run's images, in the order of its splits."""

    train: Hashes
    validation: Hashes


def hash_images(split: Split, data: DataSettings) -> Hashes:
    """The hash of each image of a split; no image is opened.

    Args:
        split: The images.
        data: Says where they are.
    """
    place = _place(data)
    return tuple(_hash(_relative(split.name(index), place)) for index in range(len(split)))


def keep_images(run: Run, dataset: Dataset, data: DataSettings) -> None:
    """Write images.json of a new run."""
    value = {
        "train": pack_hashes(hash_images(dataset.train, data)),
        "validation": pack_hashes(hash_images(dataset.validation, data)),
    }
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
        return RunImages(unpack_hashes(value["train"]), unpack_hashes(value["validation"]))
    except (KeyError, TypeError, ValueError) as error:
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


def _hash(name: str) -> str:
    return hashlib.blake2b(os.fsencode(name), digest_size=_BYTES).hexdigest()


def _place(data: DataSettings) -> Path | None:
    """The folder that paths are relative to; None for a dataset with a name."""
    if data.folder is None:
        return None
    place = Path(data.folder)
    return place if place.is_dir() else place.parent


def _relative(name: str, place: Path | None) -> str:
    path = Path(name)
    return path.relative_to(place).as_posix() if place is not None and path.is_relative_to(place) else name
