"""From what the user typed, `--dataset NAME` or `--data FOLDER`, to a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.sources.cifar import load_cifar10, load_cifar100
from noah.data.sources.digits import load_digits
from noah.data.sources.drawn.dsprites import load_dsprites_location, load_dsprites_orientation
from noah.data.sources.drawn.letters import load_letters, load_sans_letters
from noah.data.sources.drawn.shapes_count import load_shapes_count
from noah.data.sources.drawn.shifts import SHIFTS, find_shift
from noah.data.sources.drawn.shots import choose_shots
from noah.data.sources.few_shot import LAYOUT as FEW_SHOT_LAYOUT
from noah.data.sources.few_shot import load_few_shot
from noah.data.sources.few_shot_sets import FEW_SHOT_SETS, SHOTS, FewShotSet, find_few_shot_folder, find_few_shot_set
from noah.data.sources.folder import load_folder
from noah.data.sources.vtab.vtab import LAYOUT, find_vtab, load_vtab
from noah.data.sources.vtab.vtab_archives import find_vtab_archive, unpack_vtab
from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS, VtabTask, find_vtab_task
from noah.errors import DatasetNotFoundError, UsageError

CIFAR10_NAMES = ("cifar10", "cifar_10")

RENDERED: Mapping[str, Callable[[], Dataset]] = {
    "rendered_dsprites_loc": load_dsprites_location,
    "rendered_dsprites_ori": load_dsprites_orientation,
    "rendered_letters": load_letters,
    "rendered_letters_sans": load_sans_letters,
    "shapes_count": load_shapes_count,
}
"""The datasets that noah draws itself, each with one fixed split."""


def dataset_names() -> tuple[str, ...]:
    """The names that `load_dataset` knows, without aliases; some name both a VTAB-1k task and a few-shot dataset."""
    tasks, few_shot = (task.name for task in VTAB_TASKS), (known.name for known in FEW_SHOT_SETS)
    return tuple(dict.fromkeys(("digits", *RENDERED, "cifar10", *tasks, *few_shot)))


def load_dataset(
    name: str | None,
    folder: Path | None,
    *,
    data_root: Path,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    shots: int | None = None,
    list_seed: int | None = None,
) -> Dataset:
    """Load a dataset by name, or the user's own folder of images; a test set that is in files is not touched.

    Args:
        name: `digits`, `cifar10`, one of `RENDERED`, or a VTAB-1k task or few-shot dataset by its name or an alias;
            None if `folder` is given.
        folder: See `load_folder`; None if `name` is given.
        data_root: Where named datasets are looked for, and downloaded or unpacked to.
        seed: Draws every split that is not fixed; those of VTAB-1k and of `RENDERED` are.
        validation_fraction: The fraction of the images not for testing, if the validation set is drawn.
        test_fraction: The fraction of all images, if the test set is drawn.
        shots: Training images per class of a few-shot dataset, or of one of `RENDERED`; None for all images.
        list_seed: Chooses among the published lists of so many shots, and the shots of one of `RENDERED`; None means
            `seed`.

    Raises:
        UsageError: If not exactly one of name and folder is given, a fraction is not between 0 and 1, or `shots` or
            `list_seed` is missing or does not apply.
        DatasetNotFoundError: If the name is unknown, or the dataset is not there.
        MissingPackageError: If it is drawn in matplotlib's fonts, and matplotlib is not installed.
        DataError: If the dataset is there, but something in it is wrong.
        DownloadError: If it is not there and cannot be downloaded.
    """
    if name is not None and folder is not None:
        raise UsageError("Both --dataset and --data are given.", "Give one of them.")
    if name is None and folder is None:
        raise UsageError("No dataset is given.", "Type --dataset NAME (such as digits) or --data FOLDER.")
    if shots is not None:
        return _load_few_shot(name, data_root, shots, seed if list_seed is None else list_seed, seed)
    if list_seed is not None:
        raise UsageError("--list-seed is given without --shots.", "It chooses one of the lists of so many --shots.")
    if folder is not None:
        return load_folder(folder, seed=seed, validation_fraction=validation_fraction, test_fraction=test_fraction)
    return _load_named(str(name), data_root, seed, validation_fraction)


def _load_named(name: str, data_root: Path, seed: int, validation_fraction: float) -> Dataset:
    """Load a dataset by name, without shots."""
    plain = name.lower().replace("-", "_")
    if plain == "digits":
        return load_digits(seed=seed, validation_fraction=validation_fraction)
    if plain in RENDERED:
        return RENDERED[plain]()
    shift = find_shift(name)
    if shift is not None:
        raise UsageError(
            f"{shift.name} has test images only.",
            f"Train on --dataset {shift.source}; then type noah eval --on {shift.name}.",
        )
    if plain in CIFAR10_NAMES:
        return load_cifar10(data_root, seed=seed, validation_fraction=validation_fraction)
    few_shot = find_few_shot_set(name)
    task = find_vtab_task(name)
    if task is None and few_shot is not None:
        raise UsageError(
            f"{few_shot.name} is a few-shot set, and no --shots are given.",
            f"Add --shots {', '.join(map(str, SHOTS[:-1]))} or {SHOTS[-1]}.",
        )
    if task is None:
        raise _unknown(name)
    notes = []
    if few_shot is not None:
        notes.append(
            f"{name} is both a task of VTAB-1k and a few-shot set; without --shots it is VTAB-1k's {task.name}."
        )
    found = find_vtab(task.name, data_root)
    archive = find_vtab_archive(task, data_root) if found is None else None
    if archive is not None:
        found = unpack_vtab(task, archive)
        notes.append(f"{archive} was unpacked to {found}, because there was no folder of that task yet.")
    if task.name == "cifar":
        dataset = _load_cifar(found, data_root, seed, validation_fraction)
    elif found is None:
        raise _missing(task, data_root)
    else:
        dataset = load_vtab(task.name, found)
    return replace(dataset, notes=(*notes, *dataset.notes))


def _load_few_shot(name: str | None, data_root: Path, shots: int, list_seed: int, seed: int) -> Dataset:
    plain = (name or "").lower().replace("-", "_")
    if plain in RENDERED:
        return choose_shots(RENDERED[plain](), shots, list_seed)
    known = find_few_shot_set(plain)
    if known is None:
        names = ", ".join((*(known.name for known in FEW_SHOT_SETS), *RENDERED))
        what = f"{name} is not a few-shot set" if name else "--shots goes with --dataset, not with --data"
        raise UsageError(f"{what}: --shots {shots} does not apply.", f"Leave --shots out, or choose one of {names}.")
    root = find_few_shot_folder(known, data_root)
    if root is None:
        raise _missing_few_shot(known, data_root)
    dataset = load_few_shot(known, root, shots=shots, list_seed=list_seed, seed=seed)
    task = next(filter(None, map(find_vtab_task, known.names)), None)
    if task is None:
        return dataset
    note = (
        f"{name} is both a few-shot set and a task of VTAB-1k; --shots {shots} makes it the few-shot set {known.name}."
    )
    return replace(dataset, notes=(note, *dataset.notes))


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


def _unknown(name: str) -> DatasetNotFoundError:
    names = ["digits", *RENDERED, *CIFAR10_NAMES, *(shift.name for shift in SHIFTS)]
    names += [alias for task in VTAB_TASKS for alias in task.names]
    names += [alias for known in FEW_SHOT_SETS for alias in known.names]
    nearest = get_close_matches(name.lower(), names, n=1)
    if Path(name).is_dir():
        hint = f"It is a folder: type --data {name}."
    elif nearest:
        hint = f"Did you mean {nearest[0]}? `noah datasets` lists all names."
    else:
        hint = "`noah datasets` lists all names; a folder of your own goes with --data FOLDER."
    return DatasetNotFoundError(f"No dataset is named {name}.", hint)


def _missing(task: VtabTask, data_root: Path) -> DatasetNotFoundError:
    folders = " or ".join(task.names)
    places = f"{data_root}, {data_root / 'vtab-1k'} and {data_root / 'vtab-1k' / 'vtab-1k'}"
    return DatasetNotFoundError(
        f"No VTAB-1k folder {folders} with train800.txt lies in {places}.",
        f"{LAYOUT} Put it at {data_root / 'vtab-1k' / task.name}, as a folder, .zip or .tar.gz, or name another "
        "--data-root.",
    )


def _missing_few_shot(known: FewShotSet, data_root: Path) -> DatasetNotFoundError:
    return DatasetNotFoundError(
        f"No few-shot folder {' or '.join(known.names)} with annotations lies in {data_root} or "
        f"{data_root / 'few-shot'}.",
        f"{FEW_SHOT_LAYOUT} Put it at {data_root / 'few-shot' / known.name}, or name another --data-root.",
    )
