"""A folder that the library `datasets` has written with `save_to_disk`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from noah.data.dataset import Dataset
from noah.data.sources.arrow_images import import_datasets, load_arrow
from noah.data.sources.mistakes import quoted
from noah.data.sources.source import Source
from noah.errors import DataError, NoahError
from noah.files.bounded import LARGEST_JSON, parse_json, read_bounded
from noah.settings.settings import DataSettings

_SPLITS = "dataset_dict.json"


def is_saved(data: DataSettings) -> bool:
    """Whether the path is a folder that the library has written: a dataset, or one for each split."""
    folder = Path(data.folder or "")
    one = (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()
    return data.folder is not None and (one or (folder / _SPLITS).is_file())


def _load(data: DataSettings, seed: int) -> Dataset:
    """Load it; the files of the test split are not opened before `load_test`.

    Raises:
        MissingPackageError: If `datasets` is not installed.
        DataError: If its files are damaged, or it has no images or labels.
    """
    folder = Path(str(data.folder))
    datasets = import_datasets()
    names = _split_names(folder)
    parts: dict[str, Callable[[], Any]] = {
        name: partial(_open, datasets, folder / name if name else folder) for name in names
    }
    return load_arrow(folder.resolve().name or "images", str(folder), parts, data, seed)


def _split_names(folder: Path) -> tuple[str, ...]:
    path = folder / _SPLITS
    if not path.is_file():
        return ("",)
    try:
        names = parse_json(read_bounded(path, LARGEST_JSON))["splits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: {quoted(str(error))}.", _AGAIN) from error
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DataError(f"{path} does not list the folders of its splits.", _AGAIN)
    return tuple(names)


_AGAIN = "Save the dataset again with save_to_disk; it may be damaged."


def _open(datasets: Any, folder: Path) -> Any:
    try:
        return datasets.load_from_disk(str(folder))
    except NoahError:
        raise
    except Exception as error:  # the library raises almost anything on damaged files: ArrowInvalid, KeyError, ...
        raise DataError(f"{folder} cannot be read: {quoted(' '.join(str(error).split()))}.", _AGAIN) from error


SOURCE = Source(
    "a dataset saved by the library datasets",
    is_saved,
    _load,
    takes=frozenset({"columns"}),
    without=frozenset({"split"}),
)
