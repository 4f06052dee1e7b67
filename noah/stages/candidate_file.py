"""search/candidates.jsonl: every finished candidate of a search, a line each, for whoever asks what was looked at.

The search itself goes by the record that its workers share; this file follows it. While the search goes on it grows in
the order in which candidates finish, which is another one whenever several workers share a search or one is stopped and
goes on. At its end the lines stand in the order of the candidates' numbers, so that one seed leaves one file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noah.files.atomic import write_text
from noah.files.bounded import LARGEST_JSON, check_size
from noah.files.jsonl import append_lines, to_lines
from noah.files.packed import largest_text
from noah.nas.candidate import Candidate
from noah.space.kinds import KINDS

CANDIDATES = ("search", "candidates.jsonl")
"""Below the run folder."""
_WIDTH, _NAME, _FIGURES = 7, 40, 500
"""Characters, at most, of one width, of the name of a kind of module, and of all else but the lists of images."""


def check_fits(path: Path, candidates: int, images: int, blocks: int) -> None:
    """Refuse a search whose candidates would not fit into the file, before it begins.

    Args:
        path: The file.
        candidates: Of the whole search.
        images: Of the validation split.
        blocks: Of the backbone.

    Raises:
        RunError: If they might become more than noah reads.
    """
    check_size(path, candidates * largest_line(images, blocks), LARGEST_JSON)


def largest_line(images: int, blocks: int) -> int:
    """How many bytes a candidate takes at most; arguments as of `check_fits`."""
    return 2 * largest_text(images) + len(KINDS) * (_WIDTH * blocks + _NAME) + _FIGURES


class CandidateFile:
    """The file while one process writes to it.

    Args:
        path: The file; what an earlier process left there is replaced once, by the same candidates and more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._written: list[int] | None = None

    def follow(self, candidates: Sequence[Candidate]) -> None:
        """Add the candidates that are not there yet.

        Args:
            candidates: All that are finished.
        """
        if self._written is None:
            self._write(candidates)
            return
        known = set(self._written)
        new = [candidate for candidate in candidates if candidate.index not in known]
        if new:
            append_lines(self._path, (candidate.to_json() for candidate in new))
            self._written += [candidate.index for candidate in new]

    def order(self, candidates: Sequence[Candidate]) -> None:
        """Bring the lines into the order of all candidates, now that no more will come."""
        if self._written != [candidate.index for candidate in candidates]:
            self._write(candidates)

    def _write(self, candidates: Sequence[Candidate]) -> None:
        text = to_lines(candidate.to_json() for candidate in candidates)
        check_size(self._path, len(text), LARGEST_JSON)
        write_text(self._path, text)
        self._written = [candidate.index for candidate in candidates]
