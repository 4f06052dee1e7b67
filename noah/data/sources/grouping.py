"""Groups of images that belong together, such as those of one patient, animal or video, by a pattern on their paths.

A column of a table may name groups, too; its source reads it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from noah.data.sources.mistakes import quoted, quoted_path
from noah.data.sources.split_names import Role
from noah.data.split import Split
from noah.errors import DataError
from noah.progress import counted
from noah.settings.settings import is_group_pattern

PURPOSE: Mapping[Role, str] = {"train": "training", "validation": "validation", "test": "testing"}
"""What the images of each split are for, in words."""


def match_groups(images: Split, pattern: str | None, root: Path) -> list[str | None] | None:
    """The group of each image: what the first group of a regular expression matches in its path below `root`.

    The expression may match anywhere in the path, which is written with slashes. An image in which it matches nothing
    has no group.

    Args:
        images: Named by their paths.
        pattern: The expression; None, or the name of a column, gives None.
        root: The folder of the images.
    """
    if pattern is None or not is_group_pattern(pattern):
        return None
    expression = re.compile(pattern)
    found = (expression.search(_below(root, images.name(index))) for index in range(len(images)))
    return [None if match is None else match[1] for match in found]


def _below(root: Path, name: str) -> str:
    path = Path(name)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix().replace(os.sep, "/")


def group_notes(images: Split, groups: Sequence[str | None], pattern: str) -> list[str]:
    """Say how many groups a pattern has found, and which images have none.

    Raises:
        DataError: If no image has one.
    """
    if all(group is None for group in groups):
        example = f", such as {quoted_path(images.name(0))}" if len(images) else ""
        raise DataError(
            f"--groups {quoted(pattern)} matches the path of no image{example}.",
            "Write a regular expression whose first group, in parentheses, is the part of the path that names the "
            "patient, animal or video: --groups '(patient[0-9]+)'.",
        )
    number = len({group for group in groups if group is not None})
    found = f"{counted(number, 'groups')} among {counted(len(groups), 'images')}"
    return [
        f"--groups {quoted(pattern)} finds {found}.",
        *alone_notes(images, groups, f"--groups {quoted(pattern)} does not match their paths"),
    ]


def alone_notes(images: Split, groups: Sequence[str | None], reason: str) -> list[str]:
    """Say how many images have no group, if there are any.

    Args:
        images: The images.
        groups: The group of each.
        reason: Why they have none, as a clause.
    """
    alone = [index for index, group in enumerate(groups) if group is None]
    if not alone:
        return []
    are = "is" if len(alone) == 1 else "are"
    return [
        f"WARNING: {counted(len(alone), 'images')} {are} in no group, because {reason}, such as "
        f"{quoted_path(images.name(alone[0]))}; each counts as a group of its own."
    ]


def refuse_parted(where: str, images: Split, groups: np.ndarray, roles: Sequence[Role], hint: str) -> None:
    """Refuse given splits that part a group.

    Args:
        where: The table or folder, for the message.
        images: All images.
        groups: The number of each image's group, (n,).
        roles: The split of each image.
        hint: How to leave the groups out.

    Raises:
        DataError: It counts the groups, and names two images of one of them.
    """
    first: dict[int, int] = {}
    parted: dict[int, tuple[int, int]] = {}
    for index, (group, role) in enumerate(zip(groups.tolist(), roles, strict=True)):
        start = first.setdefault(group, index)
        if roles[start] != role:
            parted.setdefault(group, (start, index))
    if parted:
        one, other = next(iter(parted.values()))
        word = f"{counted(len(parted), 'groups')} {'is' if len(parted) == 1 else 'are'}"
        raise DataError(
            f"{where}: {word} in more than one split; for example, {quoted_path(images.name(one))} is for "
            f"{PURPOSE[roles[one]]} and {quoted_path(images.name(other))} for {PURPOSE[roles[other]]}.",
            f"Move each group into one split, or {hint}.",
        )
