"""Few-shot datasets as lists of images, in the layout that the paper publishes.

    <set>/annotations/train_meta.list.num_shot_<K>.seed_<S>    K images per class, drawn with seed S
    <set>/annotations/val_meta.list                            the images that the search scores subnets on
    <set>/annotations/test_meta.list
    <set>/images/...                                           stanford_cars: directly below <set>
    <set>/classes.txt                                          optional, one class name per line

ImageNet's images are in train/ and val/, and 4 images per class from the 16-shot training list are for validation:

    imagenet/annotations/unofficial_val_list_4_shot16seed0     images in train/
    imagenet/annotations/val_meta.list                         the test set: ImageNet's 50,000 images in val/
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np

from noah.data.dataset import Dataset
from noah.data.sources.few_shot_sets import IMAGENET, FewShotSet
from noah.data.sources.lists import ImageList, read_class_names, read_list
from noah.data.split import Split, select, stratified_split
from noah.errors import DataError
from noah.progress import counted

LAYOUT = (
    "A few-shot set holds annotations/train_meta.list.num_shot_<K>.seed_<S> and, beside it, val_meta.list and "
    "test_meta.list, with lines '<image path> <label>'."
)

HELD_OUT = 4 / 16
"""The share of ImageNet's training list held out for validation if there is no list for it: the paper's 4 of 16."""

_IMAGENET_VALIDATION = "unofficial_val_list_4_shot16seed0"
_TRAIN_NAME = re.compile(r"train_meta\.list\.num_shot_(\d+)\.seed_(\d+)")


def load_few_shot(known: FewShotSet, root: Path, *, shots: int, list_seed: int, seed: int) -> Dataset:
    """Load a few-shot dataset with so many shots; the test list is not read before `load_test`.

    As in the paper, the supernet and the winner are both trained on the K-shot list, never on the official validation
    list. Images that are in both lists are used for validation only, unless a class would lose its last training image;
    then they are used for training only.

    Args:
        known: The dataset to load.
        root: Its folder.
        shots: K in the training list's name.
        list_seed: S in the training list's name.
        seed: Draws the validation images from the training list if ImageNet has no list for them.

    Raises:
        DataError: If a list is missing or wrong, or an image that it names is missing.
    """
    listed = _read(known, root, _train_name(root, shots, list_seed), known.train)
    everything = listed.split
    notes = [f"The {shots}-shot list of {known.name} with seed {list_seed} is read: {listed.file}."]
    if listed.repeats:
        notes.append(f"{listed.file} lists {counted(listed.repeats, 'images')} more than once; each counts once.")
    counts = np.bincount(everything.labels, minlength=known.classes)
    uneven = int((counts != shots).sum())
    if uneven:
        notes.append(
            f"{uneven:,} of the {known.classes:,} classes do not have {shots} images in that list: accuracies are not "
            "comparable with published ones."
        )
    name = _validation_name(known, root)
    if name is None:
        train, validation, note = _hold_out(everything, seed, listed.file)
    else:
        train, validation, note = _separate(listed, _read(known, root, name, known.train), known.classes)
    notes.append(note)
    notes.append(f"The winner is retrained on the {len(everything):,} images of the {shots}-shot list alone.")
    return Dataset(
        name=f"{known.name}-{shots}shot",
        classes=_class_names(known, root, listed),
        train=train,
        validation=validation,
        load_test=partial(_load_test, known, root),
        notes=tuple(notes),
        retrain=everything,
    )


def training_lists(root: Path) -> dict[int, list[int]]:
    """Map each number of shots to the seeds of the training lists that exist, both sorted."""
    found: dict[int, list[int]] = {}
    for path in sorted((root / "annotations").glob("train_meta.list.num_shot_*")):
        match = _TRAIN_NAME.fullmatch(path.name)
        if match and path.is_file():
            found.setdefault(int(match[1]), []).append(int(match[2]))
    return {shots: sorted(found[shots]) for shots in sorted(found)}


def _train_name(root: Path, shots: int, list_seed: int) -> str:
    name = f"train_meta.list.num_shot_{shots}.seed_{list_seed}"
    path = root / "annotations" / name
    if not path.is_file():
        lists = [f"{k} with seed {', '.join(map(str, seeds))}" for k, seeds in training_lists(root).items()]
        raise DataError(
            f"There is no list {path}.",
            f"These shots exist: {'; '.join(lists)}. Choose with --shots and --list-seed." if lists else LAYOUT,
        )
    return name


def _validation_name(known: FewShotSet, root: Path) -> str | None:
    """The name of the validation list; None if ImageNet has none."""
    if known is not IMAGENET:
        return "val_meta.list"
    if (root / "annotations" / _IMAGENET_VALIDATION).is_file():
        return _IMAGENET_VALIDATION
    # Without a test list, val_meta.list is ImageNet's official validation set, which is the test set here.
    return "val_meta.list" if _test_name(root) == "test_meta.list" and _exists(root, "val_meta.list") else None


def _test_name(root: Path) -> str:
    return (
        "val_meta.list" if not _exists(root, "test_meta.list") and _exists(root, "val_meta.list") else "test_meta.list"
    )


def _exists(root: Path, name: str) -> bool:
    return (root / "annotations" / name).is_file()


def _load_test(known: FewShotSet, root: Path) -> Split:
    name = _test_name(root) if known is IMAGENET else "test_meta.list"
    return _read(known, root, name, known.test).split


def _read(known: FewShotSet, root: Path, name: str, folders: tuple[str, ...]) -> ImageList:
    """Read a list; repeats are allowed because every line of oxford_pets's published lists appears twice."""
    return read_list(
        root / "annotations" / name,
        tuple(root / folder for folder in folders),
        classes=known.classes,
        dataset=known.name,
        layout=LAYOUT,
        allow_repeats=True,
    )


def _hold_out(everything: Split, seed: int, path: Path) -> tuple[Split, Split, str]:
    kept, held_out = stratified_split(everything.labels, HELD_OUT, seed)
    if not len(held_out):
        raise DataError(
            f"{path.parent} has no list {_IMAGENET_VALIDATION} to validate on, and {path.name} has too few images of "
            "each class for some to be held out.",
            "Add that list, or choose more --shots.",
        )
    note = (
        f"{path.parent} has no list {_IMAGENET_VALIDATION}, so seed {seed} holds out {len(held_out):,} of the "
        f"{len(everything):,} listed images for the search, a quarter of each class as in the paper."
    )
    return select(everything, kept), select(everything, held_out), note


def _separate(listed: ImageList, validation: ImageList, classes: int) -> tuple[Split, Split, str]:
    """Keep the images of both lists in one of them only; returns training set, validation set and a note."""
    note = f"The search validates on {validation.file}."
    common = set(listed.split.paths) & set(validation.split.paths)
    if not common:
        return listed.split, validation.split, note
    labels = listed.split.labels
    kept = _without(listed, common)
    if set(labels[kept].tolist()) == set(labels.tolist()):
        return (
            select(listed.split, kept),
            validation.split,
            f"{note} {len(common):,} of its images are in the training list too; the supernet is not trained on them.",
        )
    left = _without(validation, common)
    if not len(left):
        raise DataError(
            f"All images of {validation.file} are in {listed.file} too.", "Some images must be there to validate on."
        )
    return (
        listed.split,
        select(validation.split, left),
        f"{note} {len(common):,} of its images are in the training list too; they are left out of the validation, "
        "because some classes have no other training image.",
    )


def _without(listed: ImageList, images: set[Path]) -> np.ndarray:
    """The indices of the listed images that are not among `images`."""
    return np.array([index for index, path in enumerate(listed.split.paths) if path not in images], np.int64)


def _class_names(known: FewShotSet, root: Path, listed: ImageList) -> tuple[str, ...]:
    """The class names from classes.txt, as for VTAB-1k; for ImageNet the synsets, its training images' folders."""
    if known is not IMAGENET:
        return read_class_names(root / "classes.txt", known.classes, known.name)
    synsets: dict[int, str] = {}
    for image, label in zip(listed.images, listed.split.labels.tolist(), strict=True):
        if synsets.setdefault(label, image.parent.name) != image.parent.name or not image.parent.name:
            raise DataError(
                f"{listed.file}: {image} has the label {label}, whose class folder is {synsets[label] or 'not told'}.",
                "The images of each class lie in a folder of their own, which is named by the class's synset.",
            )
    if len(set(synsets.values())) != len(synsets):
        raise DataError(f"{listed.file} gives images of one folder different labels.", LAYOUT)
    return tuple(synsets.get(label, str(label)) for label in range(known.classes))
