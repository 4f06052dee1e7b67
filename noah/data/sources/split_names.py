"""How people call the three splits: folders, columns of a table, parts of a file's name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from noah.errors import DataError

Role = Literal["train", "validation", "test"]

_ROLES: Mapping[str, Role] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}

SPLIT_NAMES = frozenset(_ROLES)
"""Every usual name of a split, in lower case."""

SPELLINGS = "train or training; val, valid, validation or dev; test or testing"
"""The same for messages."""

_FIRST_WORD = re.compile(r"[^\W\d_]+")


def role_of(name: str) -> Role | None:
    """Which split a name means; capitals make no difference, and None means that it is no split's."""
    return _ROLES.get(name.strip().lower())


def first_word(name: str) -> str:
    """The letters that a file's name begins with, such as train of train-00012.tar, in lower case; perhaps none."""
    word = _FIRST_WORD.match(name)
    return word[0].lower() if word else ""


def one_a_role(places: Sequence[tuple[Role, str]], where: str) -> None:
    """Refuse a role that several places take.

    Args:
        places: Roles with the names of their places.
        where: What holds the places, for the error.

    Raises:
        DataError: For the first of them.
    """
    words: dict[Role, str] = {"train": "training", "validation": "validation", "test": "test"}
    for role, word in words.items():
        names = sorted(name for other, name in places if other == role)
        if len(names) > 1:
            raise DataError(f"{where} holds more than one {word} split: {', '.join(names)}.", "Keep one of them.")
