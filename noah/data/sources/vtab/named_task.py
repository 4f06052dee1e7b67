"""A task of VTAB-1k by name: from its folder, its archive or, for CIFAR-100 alone, torchvision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.sources.cifar import load_cifar100
from noah.data.sources.few_shot_sets import find_few_shot_set
from noah.data.sources.source import Source, plain_name
from noah.data.sources.vtab.vtab import LAYOUT, find_vtab, load_vtab
from noah.data.sources.vtab.vtab_archives import find_vtab_archive, unpack_vtab
from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS, VtabTask, find_vtab_task
from noah.errors import DatasetNotFoundError
from noah.settings.settings import DataSettings


def _matches(data: DataSettings) -> bool:
    """Whether the name is that of a task, and not that of a few-shot set for which shots are given."""
    name = plain_name(data)
    return find_vtab_task(name) is not None and (data.shots is None or find_few_shot_set(name) is None)


def _load(data: DataSettings, seed: int) -> Dataset:
    """Load a task.

    Raises:
        DatasetNotFoundError: If neither its folder nor its archive is there.
        DataError: If something in it is wrong.
        DownloadError: If CIFAR-100 is not there and cannot be downloaded.
    """
    name, data_root = str(data.dataset), Path(data.root)
    task = find_vtab_task(name)
    if task is None:
        raise ValueError(f"{name} is no task of VTAB-1k")
    notes = []
    if find_few_shot_set(name) is not None:
        notes.append(
            f"{name} is both a task of VTAB-1k and a few-shot set; without --shots it is VTAB-1k's {task.name}."
        )
    found = find_vtab(task.name, data_root)
    archive = find_vtab_archive(task, data_root) if found is None else None
    if archive is not None:
        found = unpack_vtab(task, archive)
        notes.append(f"{archive} was unpacked to {found}, because there was no folder of that task yet.")
    if task.name == "cifar":
        dataset = _load_cifar(found, data_root, seed, data.validation_fraction)
    elif found is None:
        raise _missing(task, data_root)
    else:
        dataset = load_vtab(task.name, found)
    return replace(dataset, notes=(*notes, *dataset.notes))


def _load_cifar(found: Path | None, data_root: Path, seed: int, validation_fraction: float) -> Dataset:
    """Load CIFAR-100, from VTAB-1k's folder if there is one, else from torchvision's files; a note says which."""
    if found is not None:
        dataset = load_vtab("cifar", found)
        choice = f"Of the two sources of CIFAR-100, VTAB-1k's is used, because {found} exists."
    else:
        dataset = load_cifar100(data_root, seed=seed, validation_fraction=validation_fraction)
        choice = (
            f"Of the two sources of CIFAR-100, torchvision's is used, because {data_root} has no VTAB-1k cifar folder."
        )
    return replace(dataset, notes=(choice, *dataset.notes))


def _missing(task: VtabTask, data_root: Path) -> DatasetNotFoundError:
    folders = " or ".join(task.names)
    places = f"{data_root}, {data_root / 'vtab-1k'} and {data_root / 'vtab-1k' / 'vtab-1k'}"
    return DatasetNotFoundError(
        f"No VTAB-1k folder {folders} with train800.txt lies in {places}.",
        f"{LAYOUT} Put it at {data_root / 'vtab-1k' / task.name}, as a folder, .zip or .tar.gz, or name another "
        "--data-root.",
    )


SOURCE = Source(
    "a task of VTAB-1k",
    _matches,
    _load,
    names=tuple(task.name for task in VTAB_TASKS),
    aliases=tuple(alias for task in VTAB_TASKS for alias in task.aliases),
)
