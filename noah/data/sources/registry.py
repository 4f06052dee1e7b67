"""From what the user typed, `--dataset NAME` or `--data PATH`, to a dataset: the sources, tried in order."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.sources import (
    cifar,
    datasets_hub,
    datasets_saved,
    digits,
    folder,
    image_folder,
    named_few_shot,
    shards,
    table,
)
from noah.data.sources.drawn import sets, shifts
from noah.data.sources.source import Source
from noah.data.sources.vtab import named_task
from noah.errors import DatasetNotFoundError, UsageError
from noah.settings.settings import ColumnSettings, DataSettings, is_group_pattern

SOURCES: tuple[Source, ...] = (
    digits.SOURCE,
    sets.SOURCE,
    shifts.SOURCE,
    cifar.SOURCE,
    named_task.SOURCE,
    named_few_shot.SOURCE,
    datasets_hub.SOURCE,
    table.SOURCE,
    datasets_saved.SOURCE,
    image_folder.SOURCE,
    shards.SOURCE,
    folder.SOURCE,
)
"""The first that matches is taken. A new source is a file with a `Source`, and a line here."""

_ONLY_SOME_TAKE = ("shots", "list_seed", "columns", "classes", "groups")
"""The fields of `DataSettings` that a source has to name in `Source.takes` to be given with it."""


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows, without aliases; some name both a VTAB-1k task and a few-shot dataset."""
    return _once(name for source in SOURCES for name in source.names)


def load_dataset(data: DataSettings, seed: int, path_option: str = "--data") -> Dataset:
    """Load a dataset by name or path; a test set that is in files or folders of its own is not touched.

    Args:
        data: Names the dataset or the path, and how splits are drawn that are not fixed.
        seed: Draws these splits.
        path_option: The option of the command with which a path goes; the hint about an unknown name shows it.

    Raises:
        UsageError: If not exactly one of name and path is given, a fraction is not between 0 and 1, or an option is
            missing or does not apply.
        DatasetNotFoundError: If the name is unknown, or the dataset is not there.
        MissingPackageError: If a package that it needs is not installed.
        DataError: If the dataset is there, but something in it is wrong.
        DownloadError: If it is not there and cannot be downloaded.
    """
    if data.dataset is not None and data.folder is not None:
        raise UsageError("Both --dataset and --data are given.", "Give one of them.")
    if data.dataset is None and data.folder is None:
        raise UsageError("No dataset is given.", "Type --dataset NAME (such as digits) or --data FOLDER.")
    if data.list_seed is not None and data.shots is None:
        raise UsageError("--list-seed is given without --shots.", "It chooses one of the lists of so many --shots.")
    source = next((source for source in SOURCES if source.matches(data)), None)
    if source is None:
        raise _unknown(str(data.dataset), path_option)
    data = _name_group_column(data, source)
    _refuse_what_does_not_apply(data, source)
    return source.load(data, seed)


def _name_group_column(data: DataSettings, source: Source) -> DataSettings:
    """Read --groups, which names a column or is a pattern on paths: what is left of it is a pattern."""
    if data.groups is None:
        return data
    if data.columns.group:
        raise UsageError(
            f"--groups {data.groups} and --columns group={data.columns.group} both say what the groups are.",
            "Leave out one of them.",
        )
    if is_group_pattern(data.groups):
        columns = {"columns": data.columns.model_copy(update={"group": ""})} if "columns" in source.takes else {}
        return data.model_copy(update=columns)
    if "columns" not in source.takes and "groups" in source.takes:
        raise UsageError(
            f"--groups {data.groups} is the name of a column, and {data.folder} is {source.name}.",
            "Write a regular expression whose first group, in parentheses, is the part of the path that names the "
            "patient, animal or video: --groups '(patient[0-9]+)'.",
        )
    if "columns" not in source.takes:
        return data  # which is refused below
    return data.model_copy(update={"groups": None, "columns": data.columns.model_copy(update={"group": data.groups})})


def _refuse_what_does_not_apply(data: DataSettings, source: Source) -> None:
    if data.shots is not None and "shots" not in source.takes:
        names = ", ".join(_once(name for other in SOURCES if "shots" in other.takes for name in other.names))
        is_named = data.dataset is not None
        what = f"{data.dataset} is not a few-shot set" if is_named else "--shots goes with --dataset, not with --data"
        raise UsageError(
            f"{what}: --shots {data.shots} does not apply.", f"Leave --shots out, or choose one of {names}."
        )
    for field in _ONLY_SOME_TAKE:
        if getattr(data, field) != getattr(DataSettings(), field) and field not in source.takes:
            option = f"--{field.replace('_', '-')}"
            others = ", ".join(other.name for other in SOURCES if field in other.takes)
            raise UsageError(
                f"{option} does not apply to {data.dataset or data.folder}, which is {source.name}.",
                f"Leave {option} out; it goes with {others}.",
            )
    for use, name in data.columns.model_dump().items():
        if name and use in source.without:
            taken = ", ".join(f"{other}=NAME" for other in ColumnSettings.model_fields if other not in source.without)
            raise UsageError(
                f"--columns {use}={name} does not apply to {data.dataset or data.folder}, which is {source.name}.",
                f"Leave it out; --columns takes {taken} there.",
            )


def _unknown(name: str, path_option: str) -> DatasetNotFoundError:
    names = _once(name for source in SOURCES for name in (*source.names, *source.aliases))
    nearest = get_close_matches(name.lower(), names, n=1)
    place = Path(name)
    if place.is_dir() or (place.exists() and path_option == "--data"):
        hint = f"It is a {'folder' if place.is_dir() else 'file'}: type {path_option} {shlex.quote(name)}"
    elif nearest:
        hint = f"Did you mean {nearest[0]}? `noah datasets` lists all names."
    else:
        hint = f"`noah datasets` lists all names; a folder of your own goes with {path_option} FOLDER."
    if "/" in name and not place.exists():
        return DatasetNotFoundError(f"There is no folder {name}, and no dataset of that name.", hint)
    return DatasetNotFoundError(f"No dataset is named {name}.", hint)


def _once(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
