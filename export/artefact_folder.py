"""The folder of an artefact takes its name only when it is finished; until then an older one of that name stays."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from noah.errors import ExportError


@contextmanager
def new_artefact(final: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `final` if nothing goes wrong, and nothing at all otherwise.

    Raises:
        ExportError: If the finished folder cannot be moved there.
    """
    building = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    building.mkdir(parents=True)
    try:
        yield building
        _replace(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _replace(building: Path, final: Path) -> None:
    """Give the finished folder its name; an older one of that name goes only now."""
    old = building.with_suffix(".old")
    try:
        if final.exists():
            final.rename(old)
        building.rename(final)
    except OSError as error:
        raise ExportError(f"The artefact cannot be moved to {final}: {error.strerror}.", "Check the folder.") from error
    finally:
        if old.exists():
            if not final.exists():
                old.rename(final)
            else:
                shutil.rmtree(old, ignore_errors=True)
