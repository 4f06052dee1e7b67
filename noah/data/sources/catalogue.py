"""Which datasets noah knows by name, and which of them are present; only folders are listed, and no file is opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from noah.data.sources.drawn.faces import has_fonts
from noah.data.sources.drawn.shifts import SHIFTS, Shift
from noah.data.sources.few_shot import training_lists
from noah.data.sources.few_shot_sets import FEW_SHOT_SETS, FewShotSet, find_few_shot_folder
from noah.data.sources.imagenet_variants import VARIANTS, Variant, find_variant_folder
from noah.data.sources.vtab.vtab import find_vtab
from noah.data.sources.vtab.vtab_archives import find_vtab_archive
from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS, VtabTask

ON = "eval --on"
"""The group of what has test images only."""

_NO_FONTS = "missing: matplotlib"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the list of datasets.

    Attributes:
        name: The name for `--dataset`.
        group: natural, specialized or structured for the tasks of VTAB-1k, else the experiment that it belongs to.
        classes: The number of classes.
        present: Whether it can be used right away.
        where: Where it was found, as a path below the data root if it is there, or what is missing; of a shift, the
            dataset to train on.
    """

    name: str
    group: str
    classes: int
    present: bool
    where: str


def list_datasets(data_root: Path) -> list[Entry]:
    """List every dataset that has a name, grouped by experiment."""
    return [
        Entry("digits", "built in", 10, True, "comes with scikit-learn"),
        _rendered("rendered_dsprites_loc", 16),
        _rendered("rendered_dsprites_ori", 16),
        _rendered("rendered_letters", 26, needs_fonts=True),
        _rendered("rendered_letters_sans", 26, needs_fonts=True),
        _rendered("shapes_count", 8),
        _rendered("shapes_largest", 4),
        _cifar10(data_root),
        *(_vtab(task, data_root) for task in VTAB_TASKS),
        *(_few_shot(known, data_root) for known in FEW_SHOT_SETS),
        *(_variant(variant, data_root) for variant in VARIANTS),
        *(_shift(shift) for shift in SHIFTS),
    ]


def _rendered(name: str, classes: int, *, needs_fonts: bool = False) -> Entry:
    there = not needs_fonts or has_fonts()
    return Entry(name, "rendered", classes, there, "rendered by noah" if there else _NO_FONTS)


def _shift(shift: Shift) -> Entry:
    there = not shift.needs_fonts or has_fonts()
    return Entry(shift.name, ON, shift.classes, there, f"for {shift.source}" if there else _NO_FONTS)


def _cifar10(data_root: Path) -> Entry:
    there = (data_root / "cifar-10-batches-py").is_dir()
    where = "cifar-10-batches-py" if there else "downloaded at first use, 170 MB"
    return Entry("cifar10", "extra", 10, there, where)


def _vtab(task: VtabTask, data_root: Path) -> Entry:
    where, present = f"missing: vtab-1k/{task.name}", False
    folder = find_vtab(task.name, data_root)
    archive = None if folder else find_vtab_archive(task, data_root)
    if folder:
        where, present = _below(folder, data_root), True
    elif archive:
        where, present = f"{_below(archive, data_root)}, unpacked at first use", True
    elif task.name == "cifar":
        present = (data_root / "cifar-100-python").is_dir()
        where = f"{'cifar-100-python' if present else 'downloaded at first use, 169 MB'}: not VTAB's split"
    return Entry(task.name, task.group, task.classes, present, where)


def _few_shot(known: FewShotSet, data_root: Path) -> Entry:
    folder = find_few_shot_folder(known, data_root)
    where, present = f"missing: few-shot/{known.name}", False
    if folder:
        shots = training_lists(folder)
        present = bool(shots)
        lists = f"shots {', '.join(map(str, shots))}" if shots else "missing: its training lists"
        where = f"{_below(folder, data_root)}: {lists}"
    return Entry(known.name, "few-shot", known.classes, present, where)


def _variant(variant: Variant, data_root: Path) -> Entry:
    folder = find_variant_folder(variant, data_root)
    where = _below(folder, data_root) if folder else f"missing: {variant.name}"
    return Entry(variant.name, ON, variant.classes, folder is not None, where)


def _below(path: Path, data_root: Path) -> str:
    return path.relative_to(data_root).as_posix()
