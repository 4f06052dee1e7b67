"""An artifact's folder gets its name only once it is finished; until then an older artifact of that name stays."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.artifact.manifest import CARD_FILE
from noah.errors import ExportError
from noah.runs.folder import Run
from noah.runs.seals import artifact_place, break_seal, is_sealed, set_seal


@contextmanager
def new_artifact(run: Run, name: str, within: Path | None = None) -> Iterator[Path]:
    """Yield an empty folder that becomes the run's export/NAME if the block succeeds, and is removed if it fails.

    The finished folder is sealed, except for the model card, which people may edit.

    Args:
        run: The run.
        name: Name of the artifact's folder.
        within: Makes the folder there instead, unsealed, for an artifact that is not one of the run's yet.

    Raises:
        ExportError: If the finished folder cannot be moved there.
    """
    if within is not None:
        (within / name).mkdir(parents=True)
        yield within / name
        return
    final = run.path("export", name)
    building = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    building.mkdir(parents=True)
    try:
        yield building
        was_sealed = is_sealed(run, artifact_place(name))
        break_seal(run, artifact_place(name))
        try:
            _replace(building, final)
        except ExportError:
            if was_sealed:  # the earlier artifact is in its place again
                _seal(run, name, final)
            raise
        _seal(run, name, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _seal(run: Run, name: str, folder: Path) -> None:
    set_seal(run, artifact_place(name), [path for path in folder.rglob("*") if path.name != CARD_FILE])


def _replace(building: Path, final: Path) -> None:
    """Give the finished folder its name; only now is an older folder of that name removed."""
    old = building.with_suffix(".old")
    try:
        if final.exists():
            final.rename(old)
        building.rename(final)
    except OSError as error:
        raise ExportError(f"The artifact cannot be moved to {final}: {error.strerror}.", "Check the folder.") from error
    finally:
        if old.exists():
            if not final.exists():
                old.rename(final)
            else:
                shutil.rmtree(old, ignore_errors=True)
