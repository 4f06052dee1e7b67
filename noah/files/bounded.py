"""Reads text files that a stranger may have made as nothing but data: JSON or YAML of limited size.

Nothing is written under the same bounds that could not be read again.

Whatever is wrong with them comes as an OSError or a ValueError, which the caller turns into an error of its own.
"""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from noah.errors import RunError

LARGEST_JSON = 32 * 2**20
"""In bytes; if all of it were empty lists, they would take a gigabyte of memory."""
LARGEST_YAML = 2**20
MOST_NODES = 50_000
"""The most values in a YAML file, counting repeats through aliases: twice what ImageNet-21k's classes need."""

_LINE_ENDS = re.compile("[\x85\u2028\u2029]")


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes.

    Raises:
        OSError: If it is missing or cannot be read.
        ValueError: If it is larger, or not a regular file.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe would never open
    with os.fdopen(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is not a regular file")
        if status.st_size > limit:
            raise ValueError(f"it has {status.st_size:,} bytes, and {limit:,} are the most that noah reads")
        return file.read(limit)


def check_size(path: Path, size: int, limit: int) -> None:
    """Refuse to write what `read_bounded` would refuse to read.

    Args:
        path: Where it would go.
        size: Bytes of all that the file would hold.
        limit: Most bytes.

    Raises:
        RunError: If there are more.
    """
    if size > limit:
        raise RunError(
            f"{path} would have {size:,} bytes, and {limit:,} are the most that noah reads.",
            "Take fewer images, classes or candidates, or shorter names.",
        )


def dump_yaml(path: Path, value: Any) -> str:
    """The YAML text of plain values that `parse_yaml` reads back.

    Args:
        path: Where it will go, for the error.
        value: Plain values.

    Raises:
        RunError: If there are too many of them, or they are too long.
    """
    count = count_values(value)
    if count > MOST_NODES:
        raise RunError(
            f"{path} would hold {count:,} values, and {MOST_NODES:,} are the most that noah reads.",
            "Take fewer classes.",
        )
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120)
    if _LINE_ENDS.search(text):  # which PyYAML reads back as a blank
        text = yaml.safe_dump(value, sort_keys=False, width=120)
    check_size(path, len(text.encode(errors="backslashreplace")), LARGEST_YAML)
    return text


def count_values(value: Any) -> int:
    """As many nodes as the YAML text of a value has."""
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(count_values, value.values()))
    return 1 + sum(map(count_values, value)) if isinstance(value, list | tuple) else 1


def parse_json(text: bytes | str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: If it is not JSON, or is nested too deeply or has too long numbers for Python.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class PlainLoader(yaml.SafeLoader):
    """YAML's safe loader, which builds only plain values, with a limit on how much aliases can make of a few lines."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = 0
        self._sizes: dict[str, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Count the values; an alias counts for as many as it stands for."""
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]  # no stub has the parser's part
        before = self._nodes
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._sizes:
                raise yaml.YAMLError(f"the alias *{event.anchor} leads nowhere or into itself")
            self._nodes += self._sizes[event.anchor]
        else:
            self._nodes += 1
        if self._nodes > MOST_NODES:
            raise yaml.YAMLError(f"it holds more than {MOST_NODES:,} values")
        node: yaml.Node | None = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent) and event.anchor is not None:
            self._sizes[event.anchor] = self._nodes - before
        return node


def parse_yaml(text: str, loader: type[PlainLoader] = PlainLoader) -> Any:
    """Parse a YAML text.

    Raises:
        ValueError: If it is not YAML, asks for anything but plain values, or has too many; `__cause__` has the place.
    """
    if len(text) > LARGEST_YAML:
        raise ValueError(f"it has {len(text):,} characters, and {LARGEST_YAML:,} are the most that noah reads")
    try:
        return yaml.load(text, Loader=loader)  # a SafeLoader
    except Exception as error:  # PyYAML also passes on whatever a value raises, even RecursionError
        lines = str(error).splitlines() or [type(error).__name__]
        raise ValueError(lines[0]) from error
