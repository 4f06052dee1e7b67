"""Where the record of a search is kept (`noah.nas.study`): in a journal file, or in a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from noah.errors import RunError, UsageError
from noah.files.lock import SystemLock

_POLL_SECONDS = 0.002
"""The time between two attempts to lock a journal; whoever holds the lock only writes one line."""
_BUSY_SECONDS = 60
"""How long a process waits for a database file that another one is writing to."""


def journal_storage(path: Path) -> JournalStorage:
    """Open a journal file, to which several processes may append, on one machine or many; create it if necessary.

    Raises:
        RunError: If the file is damaged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=_JournalLock(path)))
    except OSError:
        raise
    except Exception as error:  # Optuna passes on whatever an invalid line raises
        raise RunError(f"{path} is damaged: {error}", "Start a new run with `noah search`.") from error


def open_storage(url: str) -> BaseStorage:
    """Open a database by a URL that Optuna accepts, such as sqlite:///FILE, postgresql://... or mysql://...

    Raises:
        UsageError: If it cannot be opened.
    """
    try:
        return optuna.storages.get_storage(_open_sqlite(url) if url.startswith("sqlite") else url)
    except Exception as error:  # Optuna passes on whatever SQLAlchemy and the database's driver raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(
            f"The storage {without_password(url)} cannot be opened: {reason}",
            "Write it as sqlite:///FILE.db, postgresql://HOST/DATABASE or mysql+pymysql://HOST/DATABASE, and install "
            "the database's Python driver (psycopg2-binary, pymysql); without --storage a file in the run's folder "
            "serves.",
        ) from error


class _JournalLock(JournalFileOpenLock):
    """A lock by the operating system on a file beside the journal, which is released if its process is killed.

    Whoever gets it removes an incomplete last line. (Optuna's own locks are files that stay behind when a process is
    killed; everyone then waits for half a minute, and the next line is appended to the torn one.)
    """

    def __init__(self, journal: Path) -> None:
        super().__init__(str(journal))  # everything of it is overridden: the base class of Optuna's locks is not public
        self._journal = journal
        self._lock = SystemLock(journal.with_name("lock"))

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
    """Open a database file whose transactions exclude each other from the start.

    Otherwise SQLite would let two processes read that a candidate is waiting before either writes that it took it.
    """
    from sqlalchemy import event

    storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": _BUSY_SECONDS}})
    event.listen(storage.engine, "connect", _leave_transactions_to_us)
    event.listen(storage.engine, "begin", _begin_at_once)
    storage.engine.dispose()  # drop the connections that were opened before
    return storage


def _leave_transactions_to_us(connection: Any, _: object) -> None:
    connection.isolation_level = None


def _begin_at_once(connection: Any) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def without_password(url: str) -> str:
    """The URL without its user, password and options; an option may be a password, too."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2].partition('?')[0]}"
