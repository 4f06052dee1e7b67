"""Seals: the SHA-256 of every file that a stage of a run wrote, so that a changed or damaged file is noticed.

A stage breaks its seal when it begins, and sets it again once all its files are there. So an existing seal always
belongs to a complete stage, whatever was killed when, and a checkpoint that every epoch replaces is hashed only once,
at the end. A seal is in seals/<stage>.json of the run folder, or in seals/<stage>/<name>.json if a stage has several
results.

For a file that only grows, such as a log, the seal covers the bytes that were there; more may follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath, PureWindowsPath
from typing import Literal

from noah.errors import RunError
from noah.runs.folder import DAMAGED_FILE, RUN_FILE, Run

FOLDER = "seals"
START, SUPERNET, SEARCH, RETRAIN = ("start",), ("supernet",), ("search",), ("retrain",)
GROWING = ("log.jsonl", "search/journal.log")
"""Files that others may append to after a stage has ended."""
_CHUNK = 2**20

Place = tuple[str, ...]
"""Identifies a seal: the parts of its path below the folder of seals, without the suffix."""
State = Literal["whole", "changed", "missing"]


@dataclass(frozen=True, slots=True)
class SealedFile:
    """The state of a file when it was sealed.

    Attributes:
        path: Its path below the run folder, with slashes.
        sha256: The hash of its first `size` bytes, in hexadecimal.
        size: Its size in bytes.
    """

    path: str
    sha256: str
    size: int

    def compare(self, run: Run) -> State:
        """Compare the file with its state when it was sealed."""
        path = run.path(self.path)
        if not path.is_file():
            return "missing"
        size = path.stat().st_size
        if size < self.size or (size > self.size and self.path not in GROWING):
            return "changed"
        return "whole" if hash_file(path, self.size) == self.sha256 else "changed"


def hash_file(path: Path, size: int | None = None) -> str:
    """Compute the SHA-256 of a file, or of its first `size` bytes, in constant memory."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def set_seal(run: Run, place: Place, paths: Iterable[Path]) -> None:
    """Seal the files of a finished stage; files that do not exist are skipped."""
    if not run.writes:
        return
    files = {}
    for path in sorted(path for path in set(paths) if path.is_file()):
        name, size = path.relative_to(run.folder).as_posix(), path.stat().st_size
        files[name] = {"sha256": hash_file(path, size), "bytes": size}
    run.write_json({"files": files}, FOLDER, *place[:-1], f"{place[-1]}.json")


def break_seal(run: Run, place: Place) -> None:
    """Remove a seal, before the first of its files changes."""
    if run.writes:
        seal_path(run, place).unlink(missing_ok=True)


def is_sealed(run: Run, place: Place) -> bool:
    """Whether there is such a seal; its files are not checked."""
    return seal_path(run, place).is_file()


def seal_path(run: Run, place: Place) -> Path:
    """The file of a seal."""
    return run.path(FOLDER, *place[:-1], f"{place[-1]}.json")


def read_seal(run: Run, place: Place) -> tuple[SealedFile, ...]:
    """Read which files a seal covers.

    Raises:
        RunError: If it is missing or damaged, or names a file outside the run folder.
    """
    path = seal_path(run, place)
    value = run.read_json(*path.relative_to(run.folder).parts)
    try:
        files = tuple(
            SealedFile(name, str(entry["sha256"]), int(entry["bytes"])) for name, entry in value["files"].items()
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise RunError(f"{path} is damaged: it is not a seal.", "Restore the run folder from a copy.") from error
    for file in files:
        if _leads_out(file.path):
            raise RunError(f"{path} names a file outside the run folder.", "Restore the run folder from a copy.")
    return files


def _leads_out(name: str) -> bool:
    """Whether a path leads out of the folder that it is relative to, on this system or by its first part on another.

    Backslashes and colons further on are signs like any other, unless this system takes them otherwise: the name of a
    result is that of somebody's folder.
    """
    elsewhere = PureWindowsPath(name)
    return bool(elsewhere.anchor) or elsewhere.parts[:1] == ("..",) or ".." in PurePath(name).parts


def seals(run: Run) -> list[Place]:
    """All seals of a run, sorted by name."""
    root = run.path(FOLDER)
    return sorted(path.relative_to(root).with_suffix("").parts for path in root.rglob("*.json") if path.is_file())


def seal_start(run: Run) -> None:
    """Seal what a run was started with, unless it is sealed.

    That is run.yaml, the list of damaged images, what else is known of the images, the timings behind a bound on
    latency, and what it goes on from.
    """
    if not is_sealed(run, START):
        names = (RUN_FILE, DAMAGED_FILE, "images.json", "earlier.json", "earlier.safetensors")
        known = [*map(run.path, names), run.path("search", "latency.json")]
        set_seal(run, START, [*known, *run.path("data").glob("*.*")])


def seal_supernet(run: Run) -> None:
    """Seal the trained supernet's files."""
    set_seal(run, SUPERNET, [*run.path("supernet").glob("*.*"), run.path("log.jsonl")])


def seal_search(run: Run) -> None:
    """Seal a finished search, including the short trainings of its finalists."""
    names = ("study.json", "journal.log", "candidates.jsonl", "pareto.json", "rerank.jsonl", "best.json")
    files = [run.path("search", name) for name in names]
    set_seal(run, SEARCH, [*files, *run.path("search", "rerank").rglob("*.*"), run.path("log.jsonl")])


def seal_retrained(run: Run) -> None:
    """Seal the retrained subnet's files."""
    set_seal(run, RETRAIN, [*run.path("retrain").glob("*.*"), run.path("log.jsonl")])


def seal_result(run: Run, *parts: str) -> None:
    """Seal the result eval/PARTS, such as test.json, with the predictions and the damaged images behind it."""
    files = [run.path("eval", *parts), run.path("eval", "predictions", *parts), damaged_list(run, *parts)]
    if parts == ("test.json",):
        files.append(run.path("eval", "mistakes.json"))
    set_seal(run, result_place(*parts), files)


def damaged_list(run: Run, *parts: str) -> Path:
    """The file that lists the damaged images behind the result eval/PARTS, if there are any."""
    return run.path("eval", *parts[:-1], f"{parts[-1].removesuffix('.json')}-{DAMAGED_FILE}")


def artifact_place(name: str) -> Place:
    """The place of the seal for the artifact export/NAME."""
    return ("export", name)


def result_place(*parts: str) -> Place:
    """The place of the seal for the result eval/PARTS."""
    return ("eval", *parts[:-1], parts[-1].removesuffix(".json"))
