"""From labeled images to a dataset: classes in order, splits that were given or are drawn, and groups kept together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from noah.data.dataset import Dataset, class_counts, imbalance_note
from noah.data.sources.grouping import PURPOSE, alone_notes, group_notes, match_groups, refuse_parted
from noah.data.sources.mistakes import quoted
from noah.data.sources.split_names import Role
from noah.data.split import (
    Split,
    concatenate,
    grouped_split,
    groups_of,
    number_groups,
    select,
    stratified_split,
    with_groups,
)
from noah.errors import DataError, NoTestSplitError, UsageError
from noah.progress import counted, first_of

_JOINING = ("|", ";", ",")
"""Signs that join several labels in one."""


@dataclass(frozen=True, slots=True)
class Labeled:
    """Images whose labels are known, before they are a dataset.

    Attributes:
        name: Of the dataset.
        where: The table or folder that they come from, for messages.
        classes: The name of each label.
        images: All images whose splits have to be drawn, or that were given a split.
        roles: The split of each image; None if nobody gave them splits.
        groups: The name of each image's group, whose images have to be on the same side of a split; None where there
            is none.
        group_column: The column or key that names them; None if there is none.
        pattern: A regular expression that finds the groups in the paths of the images, see `match_groups`.
        root: What these paths are relative to.
        load_test: Loads test images that are in files of their own; None if there are none.
        order: How the classes are ordered, for a sentence.
    """

    name: str
    where: str
    classes: tuple[str, ...]
    images: Split
    roles: Sequence[Role] | None = None
    groups: Sequence[str | None] | None = None
    group_column: str | None = None
    pattern: str | None = None
    root: Path = Path()
    load_test: Callable[[], Split] | None = None
    order: str = "in plain sorted order"


def order_labels(labels: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The names of the classes in order, and how they are ordered: whole numbers by their size, other names plainly."""
    names = sorted(set(labels))
    if not all(name.isascii() and name.isdecimal() and len(name) < 10 for name in names):
        return tuple(names), "in plain sorted order"
    return tuple(sorted(names, key=lambda name: (int(name), name))), "in the order of their numbers"


def number_labels(labels: Sequence[str], classes: tuple[str, ...]) -> np.ndarray:
    """The position of each label in `classes`, which must hold them all; int64 (n,)."""
    label_of = {name: label for label, name in enumerate(classes)}
    return np.array([label_of[label] for label in labels], np.int64)


def refuse_unknown(where: str, labels: Iterable[str], classes: tuple[str, ...]) -> None:
    """Refuse labels of test images, read when the classes are known already, that are not among the classes.

    Raises:
        DataError: It names them.
    """
    unknown = sorted(set(labels) - set(classes))
    if unknown:
        names = ", ".join(map(quoted, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        raise DataError(
            f"{where} has a class that the training images lack: {names}.",
            "Add training images of it, or remove it here.",
        )


def divide(
    labeled: Labeled, seed: int, validation_fraction: float, test_fraction: float, notes: Sequence[str]
) -> Dataset:
    """Make a dataset, drawing the splits that nobody gave.

    Args:
        labeled: The images.
        seed: Draws the splits.
        validation_fraction: The fraction of the images not for testing.
        test_fraction: The fraction of all images; ignored if there are roles.
        notes: What is worth telling before what is told here.

    Raises:
        DataError: If there are fewer than two classes, nothing to train or validate on, or a class or group is on sides
            of a split where it must not be.
        UsageError: If a fraction is not between 0 and 1.
    """
    labeled, found = _grouped(labeled)
    _check_classes(labeled)
    names = labeled.classes
    told = [
        *notes,
        *found,
        f"The {len(names)} classes are the labels of {labeled.where} {labeled.order}, from {names[0]} to {names[-1]}.",
        *_joined(names),
    ]
    if labeled.roles is None:
        return _draw_all(labeled, seed, validation_fraction, test_fraction, told)
    return _as_given(labeled, labeled.roles, seed, validation_fraction, told)


def _joined(names: Sequence[str]) -> list[str]:
    """Tell labels that seem to be several in one: each of their parts also stands alone or in another one."""
    for sign in _JOINING:
        parts = {name: {part.strip() for part in name.split(sign)} for name in names}
        count = Counter(part for of_name in parts.values() for part in of_name)
        joined = [
            name
            for name, of_name in parts.items()
            if len(of_name) > 1
            and all(part and count[part] > 1 for part in of_name)
            and not (sign == "," and all(map(str.isdecimal, of_name)))  # a number, as much of Europe writes it
        ]
        if joined:
            look = "looks" if len(joined) == 1 else "look"
            return [
                f"{len(joined):,} of these {look} like several labels joined by {sign!r}. noah gives each image one "
                f"label, so {quoted(joined[0])} is a class of its own."
            ]
    return []


def _grouped(labeled: Labeled) -> tuple[Labeled, list[str]]:
    """Join the groups to the images, and to those for testing as soon as they are loaded; a pattern finds them."""
    notes: list[str] = []
    groups, load_test = labeled.groups, labeled.load_test
    matched = match_groups(labeled.images, labeled.pattern, labeled.root)
    if matched is not None:
        groups, notes = matched, group_notes(labeled.images, matched, str(labeled.pattern))
        load_test = None if load_test is None else partial(_load_grouped, load_test, labeled.pattern, labeled.root)
    elif groups is not None and labeled.group_column is not None:
        reason = f"{labeled.where} has no {quoted(labeled.group_column)} for them"
        notes = alone_notes(labeled.images, groups, reason)
    if number_groups(groups) is None or groups is None:
        return labeled, notes
    return replace(labeled, images=with_groups(labeled.images, groups), load_test=load_test), notes


def _load_grouped(load_test: Callable[[], Split], pattern: str | None, root: Path) -> Split:
    test = load_test()
    return with_groups(test, match_groups(test, pattern, root) or [None] * len(test))


def _check_classes(labeled: Labeled) -> None:
    roles = labeled.roles
    if roles is not None and "train" not in roles:
        raise DataError(f"{labeled.where} has no training images.", "Name the split of some of them train.")
    if len(labeled.classes) < 2:
        raise DataError(
            f"{labeled.where} has only one class: {', '.join(labeled.classes)}.", "Add images of another class."
        )
    if roles is None:
        return
    trained = {label for label, role in zip(labeled.images.labels.tolist(), roles, strict=True) if role == "train"}
    missing = [name for label, name in enumerate(labeled.classes) if label not in trained]
    if missing:
        names = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        raise DataError(
            f"{labeled.where} has no training images of a class that other splits have: {names}.",
            "Add training images of it, or leave it out.",
        )
    groups = number_groups(groups_of(labeled.images))
    if groups is not None:
        hint = (
            "type --columns group=, and no --groups, to leave the groups out"
            if labeled.pattern is None
            else "leave out --groups"
        )
        refuse_parted(labeled.where, labeled.images, groups, roles, hint)


def _draw_all(
    labeled: Labeled, seed: int, validation_fraction: float, test_fraction: float, notes: list[str]
) -> Dataset:
    if not validation_fraction + test_fraction < 1:
        raise UsageError(
            f"Nothing is left to train on after {validation_fraction} for validation and {test_fraction} for testing.",
            "Choose smaller fractions, such as 0.2 and 0.2.",
        )
    images, groups = labeled.images, number_groups(groups_of(labeled.images))
    rest, tested = hold_out_some(images.labels, groups, test_fraction, seed)
    of_rest = None if groups is None else groups[rest]
    kept, held_out = hold_out_some(images.labels[rest], of_rest, validation_fraction, seed)
    train, validation, test = (select(images, indices) for indices in (rest[kept], rest[held_out], tested))
    notes = [
        *notes,
        f"{labeled.where} names no splits, so seed {seed} splits its {len(images):,} images {how_held_out(groups)}: "
        f"{len(train):,} for training, {len(validation):,} for validation, {len(test):,} for testing.",
        *content_notes(labeled.classes, {"train": train, "validation": validation, "test": test}, groups is not None),
    ]
    load_test = partial(select, images, tested)
    return Dataset(labeled.name, labeled.classes, train, validation, load_test, tuple(notes), test_is_drawn=True)


def _as_given(
    labeled: Labeled, roles: Sequence[Role], seed: int, validation_fraction: float, notes: list[str]
) -> Dataset:
    images, groups = labeled.images, number_groups(groups_of(labeled.images))
    of_role = {role: np.array([i for i, own in enumerate(roles) if own == role], np.int64) for role in PURPOSE}
    train, validation = (select(images, of_role[role]) for role in ("train", "validation"))
    notes = list(notes)
    if len(validation):
        notes.append(f"Validation uses the {len(validation):,} images that {labeled.where} names for it.")
    else:
        of_train = None if groups is None else groups[of_role["train"]]
        kept, held_out = hold_out_some(train.labels, of_train, validation_fraction, seed)
        notes.append(
            f"{labeled.where} names no images for validation, so seed {seed} holds out {len(held_out):,} of the "
            f"{len(train):,} training images, {how_held_out(of_train)}."
        )
        train, validation = select(train, kept), select(train, held_out)
    load_test = labeled.load_test
    if len(of_role["test"]):
        load_test = partial(select, images, of_role["test"])
    if load_test is None:
        notes.append(f"{labeled.where} names no images for testing, so `noah eval` has nothing to measure on.")
        load_test = partial(_no_test, labeled.where)
    notes += content_notes(labeled.classes, {"train": train, "validation": validation}, groups is not None)
    return Dataset(labeled.name, labeled.classes, train, validation, load_test, tuple(notes))


def _no_test(where: str) -> Split:
    raise NoTestSplitError(f"{where} has no test split.", "Name the split of some images test.")


def how_held_out(groups: np.ndarray | None) -> str:
    """Say how images were held out: by class, or by groups with these numbers."""
    if groups is None:
        return "class by class"
    return f"by its {counted(len(np.unique(groups)), 'groups')}, each on one side"


def hold_out_some(
    labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out a fraction of every class, by whole groups if there are any; see `noah.data.split`."""
    if groups is None:
        return stratified_split(labels, fraction, seed)
    return grouped_split(labels, groups, fraction, seed)


def content_notes(classes: tuple[str, ...], splits: Mapping[str, Split], grouped: bool = False) -> list[str]:
    """Note classes that are missing from a split, and classes of very different sizes.

    Args:
        classes: The name of each label.
        splits: By their names; train and validation, and test if it was drawn.
        grouped: Whether images were held out by groups.

    Raises:
        DataError: If there is nothing to validate on.
    """
    if not len(splits["validation"]):
        what = "groups" if grouped else "images"
        raise DataError(
            f"No class has enough {what} for one to be held out for validation.",
            f"Each class needs {len(splits)} {what} or more.",
        )
    notes = []
    for role, split in splits.items():
        missing = np.setdiff1d(np.arange(len(classes)), split.labels)
        if len(missing):
            names = first_of([classes[label] for label in missing], 5)
            have = "has" if len(missing) == 1 else "have"
            notes.append(
                f"{len(missing)} of {len(classes)} classes {have} too few images to appear in {role}: {names}."
            )
    uneven = imbalance_note(class_counts(concatenate(splits["train"], splits["validation"]), classes))
    return [*notes, uneven] if uneven else notes
