"""The list of the damaged images behind a result of a run."""

from __future__ import annotations

from pathlib import Path

from noah.data.intake import OpenedTest, write_listing
from noah.runs.folder import Run
from noah.runs.seals import damaged_list


def refused_list(run: Run, *parts: str) -> Path | None:
    """The file that is to list damaged images if they are too many for the result eval/PARTS; None to write nothing.

    It is not that of `damaged_list`, which may be sealed with an earlier result.
    """
    listing = damaged_list(run, *parts)
    return listing.with_name(f"refused-{listing.name}") if run.writes else None


def keep_damaged(run: Run, opened: OpenedTest, *parts: str) -> None:
    """Write the list for the result eval/PARTS, while its seal is broken; without damaged images there is none."""
    refused = refused_list(run, *parts)
    if refused is None:
        return
    refused.unlink(missing_ok=True)
    if opened.listed:
        write_listing(damaged_list(run, *parts), opened.listed)
    else:
        damaged_list(run, *parts).unlink(missing_ok=True)
