from __future__ import annotations

from pathlib import Path

import pytest

from noah.hardware.memory import UNKNOWN, available_memory, format_bytes

MEMINFO = "MemTotal:       24000000 kB\nMemAvailable:   2000000 kB\nHugePages_Total:       0\n"


def cgroup(folder: Path, limit: str, current: int, inactive: int) -> Path:
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{current}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\n")
    return folder


@pytest.mark.parametrize(
    ("limit", "current", "expected"),
    [
        ("max", 10, 2_048_000_000),
        (str(2**40), 10, 2_048_000_000),
        ("1000000", 600_000, 450_000),  # The 50,000 bytes of unread file contents can be reclaimed.
        ("1000000", 2_000_000, 0),
    ],
)
def test_the_smaller_of_machine_and_container_counts(tmp_path: Path, limit: str, current: int, expected: int) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(MEMINFO)
    assert available_memory(meminfo, cgroup(tmp_path / "cgroup", limit, current, 50_000)) == expected


def test_other_systems_get_an_assumption(tmp_path: Path) -> None:
    assert available_memory(tmp_path / "absent", tmp_path / "absent") == UNKNOWN


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
