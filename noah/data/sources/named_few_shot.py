"""A few-shot dataset of the paper by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.sources.few_shot import LAYOUT, load_few_shot
from noah.data.sources.few_shot_sets import FEW_SHOT_SETS, SHOTS, FewShotSet, find_few_shot_folder, find_few_shot_set
from noah.data.sources.source import Source, plain_name
from noah.data.sources.vtab.vtab_tasks import find_vtab_task
from noah.errors import DatasetNotFoundError, UsageError
from noah.settings.settings import DataSettings


def _matches(data: DataSettings) -> bool:
    return find_few_shot_set(plain_name(data)) is not None


def _load(data: DataSettings, seed: int) -> Dataset:
    """Load so many shots; `list_seed`, or else the seed, chooses among the published lists.

    Raises:
        UsageError: If no shots are given.
        DatasetNotFoundError: If it is not there.
        DataError: If something in it is wrong.
    """
    name, data_root = str(data.dataset), Path(data.root)
    known = find_few_shot_set(name)
    if known is None:
        raise ValueError(f"{name} is no few-shot set")
    if data.shots is None:
        raise UsageError(
            f"{known.name} is a few-shot set, and no --shots are given.",
            f"Add --shots {', '.join(map(str, SHOTS[:-1]))} or {SHOTS[-1]}.",
        )
    root = find_few_shot_folder(known, data_root)
    if root is None:
        raise _missing(known, data_root)
    list_seed = seed if data.list_seed is None else data.list_seed
    dataset = load_few_shot(known, root, shots=data.shots, list_seed=list_seed, seed=seed)
    task = next(filter(None, map(find_vtab_task, known.names)), None)
    if task is None:
        return dataset
    note = (
        f"{name} is both a few-shot set and a task of VTAB-1k; --shots {data.shots} makes it the few-shot set "
        f"{known.name}."
    )
    return replace(dataset, notes=(note, *dataset.notes))


def _missing(known: FewShotSet, data_root: Path) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"No few-shot folder {' or '.join(known.names)} with annotations lies in {data_root} or "
        f"{data_root / 'few-shot'}.",
        f"{LAYOUT} Put it at {data_root / 'few-shot' / known.name}, or name another --data-root.",
    )


SOURCE = Source(
    "a few-shot set",
    _matches,
    _load,
    names=tuple(known.name for known in FEW_SHOT_SETS),
    aliases=tuple(alias for known in FEW_SHOT_SETS for alias in known.aliases),
    takes=frozenset({"shots", "list_seed"}),
)
