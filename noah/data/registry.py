"""From what a person typed, `--dataset NAME` or `--data FOLDER`, to a data set."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from noah.data.cifar import load_cifar100
from noah.data.dataset import Dataset
from noah.data.digits import load_digits
from noah.data.folder import load_folder
from noah.data.vtab import LAYOUT, find_vtab, load_vtab
from noah.data.vtab_tasks import VTAB_TASKS, VtabTask, find_vtab_task
from noah.errors import DatasetNotFoundError, UsageError


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows, aliases left out."""
    return ("digits", *(task.name for task in VTAB_TASKS))


def load_dataset(
    name: str | None,
    folder: Path | None,
    *,
    data_root: Path,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
) -> Dataset:
    """Load a data set by name, or a person's own folder of images; nothing of a test split in files is touched.

    Args:
        name: `digits`, or a task of VTAB-1k by its name or an alias; None where `folder` is given.
        folder: See `load_folder`; None where `name` is given.
        data_root: Where data sets with a name are looked for, and downloaded to.
        seed: Of every split that is drawn.
        validation_fraction: Of the images that are not for testing, where the validation split is drawn.
        test_fraction: Of all images, where the test split is drawn.

    Raises:
        UsageError: Not exactly one of name and folder, or a fraction is not between 0 and 1.
        DatasetNotFoundError: The name is unknown, or there is nothing at the place.
        DataError: The data set is there, and something in it is wrong.
        DownloadError: It is not there and cannot be downloaded.
    """
    if name is not None and folder is not None:
        raise UsageError("Both --dataset and --data are given.", "Give one of them.")
    if folder is not None:
        return load_folder(folder, seed=seed, validation_fraction=validation_fraction, test_fraction=test_fraction)
    if name is None:
        raise UsageError("No data set is given.", "Type --dataset NAME (such as digits) or --data FOLDER.")
    if name.lower() == "digits":
        return load_digits(seed=seed, validation_fraction=validation_fraction)
    task = find_vtab_task(name)
    if task is None:
        raise _unknown(name)
    found = find_vtab(task.name, data_root)
    if task.name == "cifar":
        return _load_cifar(found, data_root, seed, validation_fraction)
    if found is None:
        raise _missing(task, data_root)
    return load_vtab(task.name, found)


def _load_cifar(found: Path | None, data_root: Path, seed: int, validation_fraction: float) -> Dataset:
    """VTAB-1k's folder before torchvision's files; the choice is told."""
    if found is not None:
        dataset = load_vtab("cifar", found)
        choice = f"Of the two sources of CIFAR-100, VTAB-1k's is used, because {found} exists."
    else:
        dataset = load_cifar100(data_root, seed=seed, validation_fraction=validation_fraction)
        choice = (
            f"Of the two sources of CIFAR-100, torchvision's is used, because {data_root} has no VTAB-1k cifar folder."
        )
    return replace(dataset, notes=(choice, *dataset.notes))


def _unknown(name: str) -> DatasetNotFoundError:
    names = ["digits", *(alias for task in VTAB_TASKS for alias in task.names)]
    nearest = get_close_matches(name.lower(), names, n=1)
    if Path(name).is_dir():
        hint = f"It is a folder: type --data {name}."
    elif nearest:
        hint = f"Did you mean {nearest[0]}? `noah datasets` lists all names."
    else:
        hint = "`noah datasets` lists all names; a folder of your own goes with --data FOLDER."
    return DatasetNotFoundError(f"No data set is named {name}.", hint)


def _missing(task: VtabTask, data_root: Path) -> DatasetNotFoundError:
    folders = " or ".join(task.names)
    places = f"{data_root}, {data_root / 'vtab-1k'} and {data_root / 'vtab-1k' / 'vtab-1k'}"
    return DatasetNotFoundError(
        f"No VTAB-1k folder {folders} with train800.txt lies in {places}.",
        f"{LAYOUT} Put it at {data_root / 'vtab-1k' / task.name}, or name another --data-root.",
    )
