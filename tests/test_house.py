"""Rooms and the imports between them: counted from the code, printed by `python -m tests.test_house`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("noah", "export", "noah_cli")
MOST_ROOMS = {"noah": 23, "export": 8, "noah_cli": 10}
"""Of each package, how many names someone who looks at its folder may see."""

Arrow = tuple[str, str]


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    """Who imports whom, imports inside functions and for type checkers included."""
    return read_graph()


def read_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, cache_dir=None)


def room(module: str) -> str:
    """The folder of a package that a file lies in, or the file where it lies in the package itself."""
    return ".".join(module.split(".")[:2])


def rooms(package: str) -> set[str]:
    """The folders and files of a package, by their names."""
    files = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    return files | {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}


def file_arrows(graph: grimp.ImportGraph) -> set[Arrow]:
    """(importer, imported) between files; a package stands for its `__init__.py`."""
    return {(one, other) for one in graph.modules for other in graph.find_modules_directly_imported_by(one)}


def room_arrows(graph: grimp.ImportGraph) -> set[Arrow]:
    """(importer, imported) between rooms, without the lazily loaded names of `import noah`."""
    arrows = {(room(one), room(other)) for one, other in file_arrows(graph) if one not in PACKAGES}
    return {(one, other) for one, other in arrows if one != other}


def floors(arrows: set[Arrow]) -> dict[str, int]:
    """Room -> its floor, from 0: one above the highest floor that it imports.

    Raises:
        AssertionError: If rooms import each other, also by way of others.
    """
    imported: dict[str, set[str]] = {name: set() for arrow in arrows for name in arrow}
    for one, other in arrows:
        imported[one].add(other)
    found: dict[str, int] = {}
    while left := imported.keys() - found.keys():
        next_floor = {name: 1 + max((found[other] for other in imported[name]), default=-1)
                      for name in left if imported[name] <= found.keys()}  # fmt: skip
        assert next_floor, f"these import each other: {', '.join(sorted(circle(left, imported)))}"
        found |= next_floor
    return found


def circle(left: set[str], imported: dict[str, set[str]]) -> Iterator[str]:
    """Those that import each other, among those whose floor cannot be told: each reaches itself."""
    for name in left:
        seen: set[str] = set()
        ahead = set(imported[name])
        while ahead:
            seen |= ahead
            ahead = {other for one in ahead for other in imported[one]} - seen
        if name in seen:
            yield name


def test_a_newcomer_meets_few_rooms() -> None:
    for package, most in MOST_ROOMS.items():
        assert len(rooms(package)) <= most, sorted(rooms(package))


def test_no_two_files_import_each_other(graph: grimp.ImportGraph) -> None:
    lazy = {(one, other) for one, other in file_arrows(graph) if one in PACKAGES}
    floors(file_arrows(graph) - lazy)


def test_no_two_rooms_import_each_other(graph: grimp.ImportGraph) -> None:
    floors(room_arrows(graph))


def test_nobody_imports_a_floor_above_his_own() -> None:
    linted = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert linted.returncode == 0, linted.stdout


def test_a_circle_is_found() -> None:
    with pytest.raises(AssertionError, match="these import each other: a, b"):
        floors({("a", "b"), ("b", "a"), ("c", "a"), ("a", "d")})


if __name__ == "__main__":
    house = read_graph()
    for package in PACKAGES:
        inside = {arrow for arrow in room_arrows(house) if all(name.split(".")[0] == package for name in arrow)}
        height = max(floors(inside).values()) + 1
        print(f"{package}: {len(rooms(package))} rooms, {len(inside)} imports between them, {height} floors")
    print(f"{len(file_arrows(house))} imports between {len(house.modules)} files")
