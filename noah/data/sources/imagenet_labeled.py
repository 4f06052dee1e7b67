"""Another dataset's test images with the labels of a run, so that a classifier can be tested on foreign images.

All their classes have to be classes of the run: ImageNet's variants for a run on ImageNet, or photographs of the same
classes from another camera. Classes are matched by name; ImageNet's names are its synsets, such as n01440764.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noah.data.dataset import Dataset
from noah.data.formats import is_image_path
from noah.data.sources.class_folders import find_classes, list_folder
from noah.data.sources.imagenet_variants import Variant, find_variant_folder
from noah.data.sources.lists import read_list
from noah.data.sources.split_names import role_of
from noah.data.split import FileSplit, Split, with_labels
from noah.errors import DataError, DatasetNotFoundError
from noah.progress import counted, first_of

LAYOUT = (
    "A variant of ImageNet holds annotations/val_meta.list with lines '<image path> <label>', paths relative to its "
    "folder; any other dataset is FOLDER/<class>/<image> or FOLDER/test/<class>/<image>."
)

_SYNSET = re.compile(r"n\d{8}")
_DEEPEST = 3
"""How many nested folders that hold nothing but one folder are searched."""


@dataclass(frozen=True, slots=True, eq=False)
class ForeignSet:
    """Images from another dataset than the run's.

    Attributes:
        name: A name that can be part of a file's name.
        source: The folder that the images come from, or the name of their dataset.
        split: The images, with the labels of the run.
        present: The labels that occur, sorted.
        notes: One sentence for each automatic choice, with its reason.
    """

    name: str
    source: str
    split: Split
    present: tuple[int, ...]
    notes: tuple[str, ...]


def foreign_folder(folder: Path, classes: Sequence[str], name: str | None = None) -> ForeignSet:
    """Read the test images of a folder: by its lists if it has annotations, else by its class folders.

    Args:
        folder: Where the images are.
        classes: The classes of the run, in the order of its labels.
        name: The name of the set; by default the folder's.

    Raises:
        DatasetNotFoundError: If there is no such folder.
        DataError: If it has neither layout, only one class, or classes that the run does not know.
    """
    if not folder.is_dir():
        raise DatasetNotFoundError(f"{folder} is not a folder.", LAYOUT)
    if (folder / "annotations").is_dir():
        split, notes = _read_listed(folder, classes)
    else:
        split, notes = _read_class_folders(folder, classes)
    return _foreign_set(name or _name(folder), str(folder.resolve()), split, notes)


def foreign_variant(variant: Variant, data_root: Path, classes: Sequence[str]) -> ForeignSet:
    """Find and read one of ImageNet's variants.

    Raises:
        DatasetNotFoundError: If it is not there.
        DataError: See `foreign_folder`.
    """
    folder = find_variant_folder(variant, data_root)
    if folder is None:
        raise DatasetNotFoundError(
            f"No folder {' or '.join(variant.names)} lies in {data_root} or {data_root / 'domain-generalization'}.",
            f"Put {variant.name} at {data_root / variant.name}, or type the path of its folder after --on.",
        )
    found = foreign_folder(folder, classes, variant.name)
    if len(found.present) == variant.classes:
        return found
    note = (
        f"{folder} has images of {len(found.present):,} classes, where {variant.name} has {variant.classes:,}: "
        "accuracies are not comparable with published ones."
    )
    return ForeignSet(found.name, found.source, found.split, found.present, (*found.notes, note))


def foreign_dataset(dataset: Dataset, classes: Sequence[str]) -> ForeignSet:
    """Take the test set of a dataset that noah knows by name.

    Raises:
        DataError: If it has only one class, or classes that the run does not know.
    """
    label_of = _label_of(classes)
    _refuse_unknown(dataset.name, [name for name in dataset.classes if name not in label_of], classes)
    split = dataset.load_test()
    translation = np.array([label_of[name] for name in dataset.classes], np.int64)
    relabeled = with_labels(split, translation[split.labels])
    notes = [*dataset.notes, f"The classes of {dataset.name} are matched with the run's by their names."]
    if all(name.isdecimal() for name in dataset.classes):
        notes.append("These names are numbers: noah cannot tell whether they mean the same in both datasets.")
    return _foreign_set(dataset.name, dataset.name, relabeled, notes)


def _name(folder: Path) -> str:
    """The folder's name, preceded by its parent folder's if it is named like a split."""
    folder = folder.resolve()
    own = folder.name or "images"
    return f"{folder.parent.name}-{own}" if role_of(own) else own


def _foreign_set(name: str, source: str, split: Split, notes: list[str]) -> ForeignSet:
    present = tuple(np.unique(split.labels).tolist())
    if len(present) < 2:
        raise DataError(
            f"{source} has images of one class only, where every prediction would be right.",
            "Add images of another class.",
        )
    return ForeignSet(name, source, split, present, tuple(notes))


def _read_listed(folder: Path, classes: Sequence[str]) -> tuple[FileSplit, list[str]]:
    """Read a list with ImageNet's labels; if an image's folder is a class that the run knows, the label must agree."""
    names = [name for name in ("test_meta.list", "val_meta.list") if (folder / "annotations" / name).is_file()]
    if not names:
        raise DataError(f"{folder / 'annotations'} holds neither val_meta.list nor test_meta.list.", LAYOUT)
    path = folder / "annotations" / names[0]
    listed = read_list(path, (folder, folder / "images"), classes=None, dataset="", layout=LAYOUT, allow_repeats=True)
    label_of = _label_of(classes)
    unknown: dict[str, None] = {}
    for image, label in zip(listed.images, listed.split.labels.tolist(), strict=True):
        class_folder = image.parent.name
        known = label_of.get(class_folder)
        if known is None and (_SYNSET.fullmatch(class_folder) or label >= len(classes)):
            unknown[class_folder if _SYNSET.fullmatch(class_folder) else f"label {label}"] = None
        elif known is not None and known != label:
            raise DataError(
                f"{path}: {image} has the label {label}, but {class_folder} is class {known} of this run.",
                "The labels of the list have to be those that the run was trained with.",
            )
    _refuse_unknown(str(path), list(unknown), classes)
    return listed.split, [f"Labels are read from {path}."]


def _read_class_folders(folder: Path, classes: Sequence[str]) -> tuple[FileSplit, list[str]]:
    """Read one folder per class; the folders of ImageNetV2 are named by label number."""
    label_of = _label_of(classes)
    place = _class_folders_place(folder, label_of)
    # Only classes that were read from the folders at the leaves have names with slashes.
    found = find_classes(place, "leaf" if any("/" in name for name in classes) else "top")
    names = [name for name, images in found.images.items() if images]
    notes = [f"Each class is a folder of {place}."]
    numbered = all(map(_SYNSET.fullmatch, classes)) and all(name.isascii() and name.isdecimal() for name in names)
    if numbered:
        notes.append("The folders are named by numbers, which are taken as ImageNet's labels.")
        label_of = {str(label): label for label in range(len(classes))}
    _refuse_unknown(str(place), [name for name in names if name not in label_of], classes)
    paths = tuple(path for name in names for path in found.images[name])
    if not paths:
        raise DataError(f"The class folders of {place} hold no image.", LAYOUT)
    labels = [label_of[name] for name in names for _ in found.images[name]]
    return FileSplit(paths, np.array(labels, np.int64)), notes


def _class_folders_place(folder: Path, label_of: dict[str, int]) -> Path:
    """Find the class folders: in the folder itself, in its test folder, or in the only folder that it holds."""
    for _ in range(_DEEPEST):
        folders, files = list_folder(folder)
        names = {path.name for path in folders} - set(label_of)
        tests = [path for path in folders if role_of(path.name) == "test"]
        if len(tests) == 1 and all(map(role_of, names)) and len(folders) == len(names):
            return tests[0]
        if len(folders) != 1 or not names or any(map(is_image_path, files)):
            return folder
        below, _ = list_folder(folders[0])
        if not below:  # It is a single class that the run does not know.
            return folder
        folder = folders[0]
    return folder


def _label_of(classes: Sequence[str]) -> dict[str, int]:
    return {name: label for label, name in enumerate(classes)}


def _refuse_unknown(source: str, unknown: list[str], classes: Sequence[str]) -> None:
    if unknown:
        raise DataError(
            f"{source} has {counted(len(unknown), 'classes')} that this run does not know: {first_of(unknown, 3)}.",
            f"The run knows {len(classes):,}: {first_of(classes, 3)}. Leave the images of others out, or train a run "
            "that knows them, too: noah retrain --from RUN --data FOLDER",
        )
