"""A dataset of the Hugging Face hub: --dataset hf:OWNER/NAME, with :CONFIG if it has several.

It is loaded by `datasets.load_dataset`, which takes the path of a folder in place of the name, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import PurePath
from typing import Any

from noah.data.dataset import Dataset
from noah.data.sources.arrow_images import import_datasets, load_arrow
from noah.data.sources.mistakes import quoted
from noah.data.sources.source import Source
from noah.errors import DatasetNotFoundError, DownloadError
from noah.settings.settings import DataSettings

PREFIX = "hf:"


def _matches(data: DataSettings) -> bool:
    return (data.dataset or "").startswith(PREFIX)


def _load(data: DataSettings, seed: int) -> Dataset:
    """Load it through the library, which downloads it once and keeps it in a folder of its own.

    Code that a dataset brings along is not run.

    Raises:
        MissingPackageError: If `datasets` is not installed.
        DatasetNotFoundError: If there is no dataset of this name.
        DownloadError: If it cannot be downloaded.
        DataError: If it has no images or labels.
    """
    where = str(data.dataset)
    name, _, config = where.removeprefix(PREFIX).partition(":")
    if not name:
        raise DatasetNotFoundError(f"{where} names no dataset.", "Write --dataset hf:OWNER/NAME.")
    datasets = import_datasets()
    try:
        found = datasets.load_dataset(name, config or None)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise DatasetNotFoundError(f"{where}: {_cause(error)}", "Check the name; it is OWNER/NAME.") from error
    except Exception as error:  # whatever the network, the hub and the library's readers of many formats may raise
        raise DownloadError(
            f"{where} cannot be loaded: {_cause(error)}", "Add :CONFIG to the name if there are several."
        ) from error
    parts: dict[str, Callable[[], Any]] = {str(part): partial(_given, rows) for part, rows in found.items()}
    short = re.sub(r"[^\w.-]+", "-", PurePath(name).name).strip("-.") or "images"
    return load_arrow(short, where, parts, data, seed)


def _given(rows: Any) -> Any:
    return rows


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return f"{quoted(text)}."


SOURCE = Source("a dataset of the hub", _matches, _load, takes=frozenset({"columns"}), without=frozenset({"split"}))
