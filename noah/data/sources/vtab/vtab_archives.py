"""Unpacks a VTAB-1k task that is in the data root as an archive, once, to where its folder would be."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from tempfile import mkdtemp

from noah.data.sources.archives import ARCHIVE_SUFFIXES, unpack
from noah.data.sources.vtab.vtab import VTAB_PARENTS, is_vtab_folder, vtab_places
from noah.data.sources.vtab.vtab_tasks import VtabTask
from noah.errors import DataError, system_cause

_ABANDONED_SECONDS = 24 * 3600
"""A temporary folder older than this was left behind by a killed process."""


def find_vtab_archive(task: VtabTask, data_root: Path) -> Path | None:
    """Find a task's archive, such as cifar.zip, in any place where `find_vtab` looks for its folder."""
    for folder in vtab_places(task.name, data_root):
        for suffix in ARCHIVE_SUFFIXES:
            archive = folder.with_name(folder.name + suffix)
            if archive.is_file():
                return archive
    return None


def unpack_vtab(task: VtabTask, archive: Path) -> Path:
    """Unpack a task's archive into a folder beside it, with the archive's name, and return that folder.

    The folder gets its name once it is complete, so an interruption leaves nothing that looks like a dataset, and if
    two processes do this at once, one finds the other's folder.

    Raises:
        DataError: If the archive cannot be unpacked, does not hold this task, or something else has the folder's name.
    """
    folder = archive.with_name(next(archive.name.removesuffix(s) for s in ARCHIVE_SUFFIXES if archive.name.endswith(s)))
    prefix = f".{folder.name}.unpacking-"
    _remove_abandoned(archive.parent, prefix)
    try:
        temporary = Path(mkdtemp(prefix=prefix, dir=archive.parent))
    except OSError as error:
        raise DataError(
            f"{archive} cannot be unpacked, because {archive.parent} cannot be written: {system_cause(error)}.",
            "Unpack it elsewhere and name that folder with --data-root.",
        ) from error
    try:
        content = temporary / "content"
        content.mkdir()
        unpack(archive, content)
        found = next(
            (
                content / parent / name
                for parent in VTAB_PARENTS
                for name in (*task.names, ".")
                if is_vtab_folder(content / parent / name)
            ),
            None,
        )
        if found is None:
            raise DataError(
                f"{archive} holds no folder {' or '.join(task.names)} with train800.txt.",
                "Check that this is the archive of that task.",
            )
        _take_name(found, folder, archive)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _take_name(found: Path, folder: Path, archive: Path) -> None:
    try:
        found.rename(folder)
    except OSError as error:
        if is_vtab_folder(folder):  # Another process was faster.
            return
        raise DataError(
            f"{archive} cannot be unpacked to {folder}: {system_cause(error)}.",
            f"Move {folder} away if it is there: it holds no train800.txt.",
        ) from error


def _remove_abandoned(parent: Path, prefix: str) -> None:
    for folder in parent.glob(f"{prefix}*"):
        try:
            abandoned = time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS
        except OSError:  # Its process has just removed it.
            continue
        if abandoned:
            shutil.rmtree(folder, ignore_errors=True)
