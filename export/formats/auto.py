"""`--format auto`, in place of a format: its name, and what it does if nobody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.formats.format import GRAPH_OPTIONS

if TYPE_CHECKING:  # it imports pydantic, which help does not need
    from export.artifact.records import Purpose

AUTO = "auto"
HELP = "the format and precision that are fastest on this machine, found by timing all that run here"
OWN_OPTIONS = ("--for", "--lose-at-most")
"""Options of `noah export` that no format takes."""
OPTIONS = GRAPH_OPTIONS - {"--precision"} | frozenset(OWN_OPTIONS)
"""The options that it takes, besides --format and those that every format takes."""
BATCHES: dict[Purpose, int] = {"latency": 1, "throughput": 32}
"""The batch size that is timed for each purpose if none is given."""
PURPOSE: Purpose = "latency"
LOSE_AT_MOST = 0.5
"""Percentage points of accuracy that what is chosen may lose."""
