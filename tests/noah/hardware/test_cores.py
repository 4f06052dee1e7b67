from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from noah.hardware.cores import Cores, choose_threads, cpu_quota, release_threads, usable_cores

Groups = Callable[[str], tuple[Path, ...]]


def bounded(folder: Path, *limits: str) -> Groups:
    """Groups from the innermost to the outermost, each with what version 2 or 1 writes of its limit."""
    made = []
    for number, limit in enumerate(limits):
        group = folder / str(number)
        group.mkdir()
        if "/" in limit:
            quota, period = limit.split("/")
            (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
            (group / "cpu.cfs_period_us").write_text(f"{period}\n")
        elif limit:
            (group / "cpu.max").write_text(f"{limit}\n")
        made.append(group)
    return lambda controller: tuple(made) if controller == "cpu" else ()


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with 8 cores of two hardware threads each, and no variable that says how many to use."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical: 16 if logical else 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ((), None),
        (("max 100000",), None),
        (("-1/100000",), None),
        (("50000 100000",), 0.5),
        (("50000/100000",), 0.5),
        (("max 100000", "350000 100000", "max 100000"), 3.5),
        (("400000 100000", "200000 100000"), 2.0),
        (("", "-1/100000"), None),
        (("nonsense",), None),
    ],
)
def test_the_least_quota_of_all_groups_counts(tmp_path: Path, limits: tuple[str, ...], quota: float | None) -> None:
    assert cpu_quota(bounded(tmp_path, *limits)) == quota


@pytest.mark.parametrize(
    ("limit", "count", "reason"),
    [
        ("max 100000", 8, "the cores of this machine"),
        ("50000 100000", 1, "the quota of this container is worth 0.5 cores"),
        ("350000/100000", 3, "the quota of this container is worth 3.5 cores"),
        ("1200000 100000", 8, "the cores of this machine"),
    ],
)
def test_threads_follow_the_quota(tmp_path: Path, limit: str, count: int, reason: str) -> None:
    assert usable_cores(bounded(tmp_path, limit)) == Cores(count, reason)


def test_threads_follow_the_affinity_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5}, raising=False)
    assert usable_cores(bounded(tmp_path)) == Cores(3, "this process is bound to 3 of 16 cores")
    monkeypatch.delattr(os, "sched_getaffinity")  # as on Windows and macOS
    assert usable_cores(bounded(tmp_path)).count == 8


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("2,1", 2), ("0", 8), ("many", 8), ("", 8)])
def test_the_variables_of_the_field_are_obeyed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, count: int
) -> None:
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        with monkeypatch.context() as only:
            only.setenv(variable, text)
            found = choose_threads(bounded(tmp_path), tmp_path / "known")
        assert found.count == count
        assert found.reason == (f"{variable} is {count}" if count != 8 else "the cores of this machine")


SLEEPER = "import sys; print(1, flush=True); sys.stdin.read()"


def announced(known: Path, threads: int) -> subprocess.Popen[str]:
    """Start a process that makes itself known as noah does, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline()
    known.mkdir(exist_ok=True)
    (known / f"{process.pid}-{psutil.Process(process.pid).create_time():.2f}").write_text(str(threads))
    return process


@pytest.mark.parametrize(
    ("threads", "count"),
    [((8,), 4), ((2,), 6), ((8, 8), 2), ((1, 1), 6), ((0,), 8)],
)
def test_a_process_that_starts_beside_others_takes_what_they_leave_or_its_part(
    tmp_path: Path, threads: tuple[int, ...], count: int
) -> None:
    known, groups = tmp_path / "known", bounded(tmp_path)
    others = [announced(known, number) for number in threads]
    try:
        found = choose_threads(groups, known)
        assert found.count == count
        if count < 8:
            others_told = "another noah process" if len(threads) == 1 else "2 other noah processes"
            assert found.reason == f"shared with {others_told}; alone it would be 8, the cores of this machine"
        assert choose_threads(groups, known) == found  # it does not count itself
    finally:
        for process in others:
            process.communicate("")
    assert choose_threads(groups, known).count == 8
    assert len(list(known.iterdir())) == 1  # what the others left is gone


def test_a_number_that_another_process_has_by_now_is_not_taken_for_noah(tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.mkdir()
    (known / f"{os.getppid()}-1.00").write_text("8")
    (known / "notes-of-mine").write_text("8")
    assert choose_threads(bounded(tmp_path), known).count == 8


def test_where_nothing_can_be_written_every_process_is_alone(tmp_path: Path) -> None:
    (tmp_path / "known").write_text("a file")
    assert choose_threads(bounded(tmp_path), tmp_path / "known").count == 8


def test_a_process_is_known_until_it_ends(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from noah.hardware.cores import choose_threads
known = Path({str(tmp_path / "known")!r})
choose_threads(folder=known)
print(len(list(known.iterdir())))
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == "1\n"
    assert list((tmp_path / "known").iterdir()) == []


def test_a_process_that_goes_on_with_other_things_is_no_longer_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    known = tmp_path / "known"
    choose_threads(folder=known)
    assert len(list(known.iterdir())) == 1
    release_threads(known)
    release_threads(known)  # once more does no harm
    assert list(known.iterdir()) == []
    choose_threads(folder=known)
    assert len(list(known.iterdir())) == 1


def test_a_run_that_goes_on_takes_as_many_threads_as_before_if_it_may(tmp_path: Path) -> None:
    known = tmp_path / "known"
    other = announced(known, 8)
    try:
        found = choose_threads(bounded(tmp_path), known, before=8)
        assert found == Cores(8, "as when the run began")
        assert choose_threads(bounded(tmp_path), known, before=9).count == 4  # a larger machine began it
    finally:
        other.communicate("")
