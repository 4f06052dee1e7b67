"""Compares what is installed with the lower bounds of pyproject.toml; `make test-lowest` does so before its tests.

A bound counts as tested only where tests ran with that very version, and a resolver takes a newer one without a word
wherever another package asks for it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@dataclass(frozen=True)
class Bound:
    """The oldest version of a dependency that is allowed, and the one that is installed (None: none is)."""

    name: str
    oldest: Version
    installed: Version | None

    def __str__(self) -> str:
        found = "not installed" if self.installed is None else str(self.installed)
        note = "" if self.installed == self.oldest else f"  is not the bound, {self.oldest}"
        return f"{self.name:18} {found}{note}"


def requirements() -> Iterator[Requirement]:
    """The dependencies that every installation on this system has."""
    for line in tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]["dependencies"]:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def bounds() -> Iterator[Bound]:
    """The lower bound of each dependency.

    Raises:
        ValueError: If one has no lower bound, or several.
    """
    for requirement in requirements():
        (oldest,) = (Version(part.version) for part in requirement.specifier if part.operator == ">=")
        try:
            installed = Version(version(requirement.name))
        except PackageNotFoundError:
            installed = None
        yield Bound(requirement.name, oldest, installed)


if __name__ == "__main__":
    found = list(bounds())
    print(*found, sep="\n")
    sys.exit(any(bound.installed != bound.oldest for bound in found))
