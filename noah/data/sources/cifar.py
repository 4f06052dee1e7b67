"""CIFAR-10 and CIFAR-100 from their authors, each with 1,000 training images.

CIFAR-100 is for those who do not have VTAB-1k. The small training sets are drawn the way VTAB-1k's were, but they are
not the same.
"""

from __future__ import annotations

import shutil
import urllib.request
from functools import partial
from http.client import HTTPException
from pathlib import Path
from typing import Any, Literal

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.source import Source, named
from noah.data.split import ArraySplit, select, stratified_split
from noah.errors import DatasetNotFoundError, DownloadError
from noah.settings.settings import DataSettings

SUBSET_IMAGES = 1000
TIMEOUT_SECONDS = 20
"""How long the server may stay silent."""


Classes = Literal[10, 100]


def load_cifar10(data_root: Path, *, seed: int, validation_fraction: float, download: bool = True) -> Dataset:
    """Draw 1,000 training images of CIFAR-10; everything else is as in `load_cifar100`."""
    return _load(10, data_root, seed, validation_fraction, download)


def load_cifar100(data_root: Path, *, seed: int, validation_fraction: float, download: bool = True) -> Dataset:
    """Draw 1,000 training images of CIFAR-100 (Krizhevsky, 2009); its 10,000 test images are the test set.

    The files are pickles, read by torchvision, which refuses them unless their MD5 is the published one. The test
    images are loaded by `load_test`; before that, only the checksum of their file is computed.

    Args:
        data_root: The folder that holds, or will hold, cifar-100-python.
        seed: Draws the 1,000 images, and then the validation images among them.
        validation_fraction: The fraction of the 1,000 images that is held out for validation.
        download: Whether to download the archive (169 MB) if the files are missing.

    Raises:
        DownloadError: If the archive cannot be downloaded, or it or its content is damaged.
        DatasetNotFoundError: If the files are missing and `download` is off.
        UsageError: If the fraction is not between 0 and 1.
    """
    return _load(100, data_root, seed, validation_fraction, download)


def _load(classes: Classes, data_root: Path, seed: int, validation_fraction: float, download: bool) -> Dataset:
    name = f"cifar{classes}"
    source = _open(classes, data_root, train=True, download=download)
    everything = _split(source, f"{name}/train")
    _, subset = stratified_split(everything.labels, SUBSET_IMAGES / len(everything), seed)
    train, validation = stratified_split(everything.labels[subset], validation_fraction, seed)
    return Dataset(
        name=name,
        classes=tuple(source.classes),
        train=select(everything, subset[train]),
        validation=select(everything, subset[validation]),
        load_test=partial(_load_test, classes, data_root),
        notes=(
            f"Seed {seed} draws {len(train)} images to train on and {len(validation)} to validate on, class by class, "
            f"from the training images of CIFAR-{classes}. This is NOT the split of VTAB-1k"
            f"{', which has no CIFAR-10' if classes == 10 else ''}: the numbers must not be compared with VTAB-1k's.",
        ),
    )


def _load_test(classes: Classes, data_root: Path) -> ArraySplit:
    return _split(_open(classes, data_root, train=False, download=False), f"cifar{classes}/test")


def _split(source: Any, prefix: str) -> ArraySplit:
    """Wrap torchvision's images, uint8, (n, 32, 32, 3), and its list of labels."""
    return ArraySplit(np.ascontiguousarray(source.data), np.array(source.targets, np.int64), prefix)


def _open(classes: Classes, data_root: Path, *, train: bool, download: bool) -> Any:
    """Open torchvision's CIFAR10 or CIFAR100, and download it if necessary."""
    from torchvision import datasets  # Imports torch, which the rest of this package does without.
    from torchvision.datasets.utils import check_integrity

    source = {10: datasets.CIFAR10, 100: datasets.CIFAR100}[classes]
    try:
        return source(data_root, train=train, download=False)
    except RuntimeError:  # Missing or damaged.
        pass
    archive = data_root / source.filename
    vtab = f"Put a VTAB-1k cifar folder at {data_root / 'vtab-1k' / 'cifar'}, or unpack" if classes == 100 else "Unpack"
    hint = f"{vtab} {source.filename} so that {data_root / source.base_folder} exists."
    if not download:
        raise DatasetNotFoundError(f"No undamaged CIFAR-{classes} lies at {data_root / source.base_folder}.", hint)
    try:
        if not check_integrity(archive, source.tgz_md5):
            _fetch(source.url, archive)
        if not check_integrity(archive, source.tgz_md5):  # Torchvision would now download it again, with no time limit.
            raise OSError(f"the checksum of {archive} is wrong")
        return source(data_root, train=train, download=True)  # Unpacks the archive.
    except (OSError, HTTPException, RuntimeError) as error:
        raise DownloadError(f"Cannot download CIFAR-{classes} from {source.url}: {_cause(error)}.", hint) from error


def _cause(error: Exception) -> str:
    """Only the reason, on one line; urllib wraps the system's error in one of its own."""
    reason = getattr(error, "reason", None)
    innermost = reason if isinstance(reason, OSError) else error
    return " ".join(str(innermost).split())


def _fetch(url: str, archive: Path) -> None:
    """Download to a temporary name, and rename the file once it is complete."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    incomplete = archive.with_name(archive.name + ".part")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response, incomplete.open("wb") as file:
            shutil.copyfileobj(response, file)
        incomplete.replace(archive)
    finally:
        incomplete.unlink(missing_ok=True)


def _load_named(data: DataSettings, seed: int) -> Dataset:
    return load_cifar10(Path(data.root), seed=seed, validation_fraction=data.validation_fraction)


SOURCE = Source("CIFAR-10", named(("cifar10", "cifar_10")), _load_named, names=("cifar10",), aliases=("cifar_10",))
"""CIFAR-100 is a task of VTAB-1k, `noah.data.sources.vtab.named_task`."""
