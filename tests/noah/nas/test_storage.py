"""Where a search is kept: damage is told, passwords are not, and a killed process locks nobody out."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.storages import BaseStorage
from optuna.study import StudyDirection

from noah.errors import RunError, UsageError
from noah.nas.storage import journal_storage, open_storage
from tests.commands import process_environment

UP = [StudyDirection.MAXIMIZE]


def names(storage: BaseStorage) -> list[str]:
    return [study.study_name for study in storage.get_all_studies()]


def test_two_journals_of_one_file_see_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "journal.log"
    first, second = journal_storage(path), journal_storage(path)
    first.create_new_study(UP, "a")
    second.create_new_study(UP, "b")
    assert names(first) == names(second) == names(journal_storage(path)) == ["a", "b"]


@pytest.mark.parametrize("torn", [b'{"op_code": 0, "worker', b"{", b'{"op_code": 2, "x": "\xc3'])
def test_a_torn_last_line_is_cut(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "journal.log"
    living = journal_storage(path)
    living.create_new_study(UP, "a")
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    # A process that goes on, or one that opens the file: both see what was there, and write whole lines after it.
    assert names(living) == ["a"]
    opened = journal_storage(path)
    assert names(opened) == ["a"]
    living.create_new_study(UP, "b")
    opened.create_new_study(UP, "c")
    assert names(living) == names(opened) == ["a", "b", "c"]
    assert path.read_bytes().startswith(whole)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


@pytest.mark.parametrize("line", [b"no record", b"[]", b"null", b"{}", b'{"op_code": 77, "worker_id": "a"}', b"\xff"])
def test_a_damaged_line_is_told(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal.log"
    journal_storage(path).create_new_study(UP, "a")
    whole = path.read_bytes()
    path.write_bytes(line + b"\n" + whole)
    with pytest.raises(RunError, match=r"journal\.log is damaged: .*\nStart a new run with `noah search`\.$"):
        journal_storage(path)
    assert path.read_bytes() == line + b"\n" + whole


HOLD = """
import sys, time
from pathlib import Path
from noah.nas.storage import _JournalLock
lock = _JournalLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
time.sleep(600)
"""


def test_a_process_that_is_killed_while_it_writes_locks_nobody_out(tmp_path: Path) -> None:
    path = tmp_path / "journal.log"
    storage = journal_storage(path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], env=process_environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    started = time.monotonic()
    storage.create_new_study(UP, "a")
    assert time.monotonic() - started < 5  # Optuna's own locks take half a minute
    assert names(journal_storage(path)) == ["a"]


def test_a_database_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_storage("sqlite:///search.db").create_new_study(UP, "a")
    assert names(open_storage(f"sqlite:///{tmp_path / 'search.db'}")) == ["a"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host/db", "postgresql://host/db cannot be opened"),
        ("mysql+pymysql://me:se@cret@host/db", "mysql+pymysql://host/db cannot be opened"),
        ("postgresql://host/db?user=me&password=secret", "postgresql://host/db cannot be opened"),
        ("postgresql://me:secret@host:port/db", "postgresql://host:port/db cannot be opened"),
        ("sqlite://me:secret@/db", "sqlite:///db cannot be opened"),
        ("redis://me:secret@host", "redis://host cannot be opened"),
        ("nonsense://me:secret@host", "nonsense://host cannot be opened"),
        ("sqlite:////no/such/search.db", "sqlite:////no/such/search.db cannot be opened: (sqlite3.OperationalError)"),
        ("search.db", "search.db cannot be opened"),
        ("", " cannot be opened"),
    ],
)
def test_a_bad_url_is_told_without_its_password(url: str, shown: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_storage(url)
    assert raised.value.problem.startswith(f"The storage {shown}")
    assert raised.value.hint.startswith("Write it as sqlite:///FILE.db")
    assert "cret" not in str(raised.value)
    assert raised.value.problem.count("\n") == 0
