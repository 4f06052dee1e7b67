from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from noah.hardware.memory import available_memory, format_bytes

MACHINE = 2_048_000_000
Group = Callable[[Path, str, int, int], Path]


def version_2(folder: Path, limit: str, current: int, inactive: int) -> Path:
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    return folder


def version_1(folder: Path, limit: str, current: int, inactive: int) -> Path:
    folder.mkdir()
    unlimited = limit.replace("max", "9223372036854771712")
    (folder / "memory.limit_in_bytes").write_text(f"{unlimited}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"cache 5\ntotal_inactive_file {inactive}\n")
    return folder


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=MACHINE))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize("cgroup", [version_2, version_1])
@pytest.mark.parametrize(
    ("limit", "current", "expected"),
    [
        ("max", 10, MACHINE),
        (str(2**40), 10, MACHINE),
        ("1000000", 600_000, 450_000),  # The 50,000 bytes of unread file contents can be reclaimed.
        ("1000000", 2_000_000, 0),
    ],
)
def test_the_smaller_of_machine_and_container_counts(
    tmp_path: Path, cgroup: Group, limit: str, current: int, expected: int
) -> None:
    inner, outer = cgroup(tmp_path / "inner", limit, current, 50_000), cgroup(tmp_path / "outer", "max", current, 0)
    assert available_memory(lambda controller: {"memory": (inner, outer)}[controller]) == expected
    assert available_memory(lambda controller: {"memory": (outer, inner)}[controller]) == expected


@pytest.mark.usefixtures("machine")
def test_without_control_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    assert available_memory(lambda controller: (tmp_path,)) == MACHINE
    assert available_memory(lambda controller: ()) == MACHINE


def test_this_machine_has_memory() -> None:
    assert available_memory() > 2**20


def test_sizes_are_written_for_people() -> None:
    assert [format_bytes(count) for count in (0, 4096, 9 * 2**20, 3.4 * 2**30, 2048 * 2**30)] == [
        "0 KiB",
        "4 KiB",
        "9 MiB",
        "3.4 GiB",
        "2,048.0 GiB",
    ]
