"""An artifact's folder gets its name only once it is finished; until then an older artifact of that name stays."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.artifact.manifest import CARD_FILE
from noah.errors import ExportError
from noah.files.atomic import write_text
from noah.runs.folder import Run
from noah.runs.seals import artifact_place, break_seal, is_sealed, seal_path, set_seal


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
        place = artifact_place(name)
        earlier = seal_path(run, place).read_text(encoding="utf-8") if is_sealed(run, place) else None
        break_seal(run, place)
        try:
            _replace(building, final)
        except ExportError:
            if earlier is not None:  # the earlier artifact is in its place again
                write_text(seal_path(run, place), earlier)
            raise
        set_seal(run, place, [path for path in final.rglob("*") if path.name != CARD_FILE])
    finally:
        shutil.rmtree(building, ignore_errors=True)


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
