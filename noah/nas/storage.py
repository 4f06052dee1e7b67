"""Where the record of a search is kept (`noah.nas.study`): in a journal file, or in a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from noah.errors import RunError, UsageError

_POLL_SECONDS = 0.002
"""Between two tries to lock a journal; whoever has it keeps it for one line."""
_BUSY_SECONDS = 60
"""How long a process waits for a database file that another one is writing to."""


def journal_storage(path: Path) -> JournalStorage:
    """A journal file that several processes, on one machine or on many, append to.

    Args:
        path: The file; it and its folder are created.

    Raises:
        RunError: If the file is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_JournalLock(path)))
    except OSError:
        raise
    except Exception as error:  # Optuna hands through whatever a line of something else raises
        raise RunError(f"{path} is damaged: {error}", "Start a new run with `noah search`.") from error


def open_storage(url: str) -> BaseStorage:
    """A database by its URL, as Optuna takes them: sqlite:///FILE, postgresql://..., mysql://...

    Raises:
        UsageError: If it cannot be opened.
    """
    try:
        return optuna.storages.get_storage(_open_sqlite(url) if url.startswith("sqlite") else url)
    except Exception as error:  # Optuna hands through whatever SQLAlchemy and the database's driver raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"The storage {without_password(url)} cannot be opened: {reason}",
            "Write it as sqlite:///FILE.db, postgresql://HOST/DATABASE or mysql+pymysql://HOST/DATABASE, and install "
            "the database's Python driver (psycopg2-binary, pymysql); without --storage a file in the run's folder "
            "serves.",
        ) from error


class _JournalLock(JournalFileOpenLock):
    """The system's lock of a file beside the journal, which a process that is killed gives back.

    Whoever gets it removes a last line that was left without its end. (Optuna's own locks are files that stay where a
    process was killed; everyone then waits for half a minute, and the next line goes on where the torn one ends.)
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))  # nothing of which is left: the base class of Optuna's locks is not public
        self._journal = journal
        self._lock = FileLock(journal.with_name("lock"))

    def acquire(self) -> bool:
        self._lock.acquire(poll_interval=_POLL_SECONDS)
        _cut_torn_line(self._journal)
        return True

    def release(self) -> None:
        self._lock.release()


def _cut_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.seek(max(end - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


def _open_sqlite(url: str) -> RDBStorage:
    """A database file whose transactions exclude each other from their beginning.

    SQLite would let two processes read that a candidate waits before either writes that it has taken it.
    """
    from sqlalchemy import event

    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}})
    event.listen(storage.engine, "connect", _leave_transactions_to_us)
    event.listen(storage.engine, "begin", _begin_at_once)
    storage.engine.dispose()  # connections that were opened before
    return storage


def _leave_transactions_to_us(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _begin_at_once(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def without_password(url: str) -> str:
    """The URL without its user, password and options, of which one may be a password as well."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
