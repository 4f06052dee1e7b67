"""Seals: the SHA-256 of every file that a stage of a run left, so that a changed or damaged one is noticed.

A stage breaks its seal when it begins and sets it anew when all its files are there. So a seal that exists belongs to a
whole stage, whatever was killed when, and a checkpoint that every epoch replaces is hashed once, at the end. It lies in
seals/<stage>.json of the run folder, or seals/<stage>/<name>.json where a stage has several results.

Of a file that only grows, such as a log, the bytes that were there are sealed; more may follow.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from noah.errors import RunError
from noah.runs.folder import RUN_FILE, Run

FOLDER = "seals"
START, SUPERNET, SEARCH, RETRAIN = ("start",), ("supernet",), ("search",), ("retrain",)
GROWING = ("log.jsonl", "search/journal.log")
"""Files that others may append to after a stage has ended."""
_CHUNK = 2**20

Place = tuple[str, ...]
"""Which seal: the parts of its path below the folder of seals, without its suffix."""
State = Literal["whole", "changed", "missing"]


@dataclass(frozen=True, slots=True)
class SealedFile:
    """What a file was when it was sealed.

    Attributes:
        path: Below the run folder, with slashes.
        sha256: Of its first `size` bytes, in hexadecimal.
        size: In bytes.
    """

    path: str
    sha256: str
    size: int

    def compare(self, run: Run) -> State:
        """Whether the file is still what it was."""
        path = run.path(*self.path.split("/"))
        if not path.is_file():
            return "missing"
        size = path.stat().st_size
        if size < self.size or (size > self.size and self.path not in GROWING):
            return "changed"
        return "whole" if hash_file(path, self.size) == self.sha256 else "changed"


def hash_file(path: Path, size: int | None = None) -> str:
    """SHA-256 of a file, or of its first `size` bytes, in constant memory."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while left > 0 and (chunk := file.read(min(_CHUNK, left))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def set_seal(run: Run, place: Place, paths: Iterable[Path]) -> None:
    """Seal the files of a stage that has ended; those that do not exist are passed over."""
    if not run.writes:
        return
    files = {}
    for path in sorted(path for path in set(paths) if path.is_file()):
        name, size = path.relative_to(run.folder).as_posix(), path.stat().st_size
        files[name] = {"sha256": hash_file(path, size), "bytes": size}
    run.write_json({"files": files}, FOLDER, *place[:-1], f"{place[-1]}.json")


def break_seal(run: Run, place: Place) -> None:
    """Take the seal off, before the first of its files changes."""
    if run.writes:
        seal_path(run, place).unlink(missing_ok=True)


def is_sealed(run: Run, place: Place) -> bool:
    """Whether there is such a seal; whether it is whole is another question."""
    return seal_path(run, place).is_file()


def seal_path(run: Run, place: Place) -> Path:
    """The file of a seal."""
    return run.path(FOLDER, *place[:-1], f"{place[-1]}.json")


def read_seal(run: Run, place: Place) -> tuple[SealedFile, ...]:
    """The files of a seal.

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
        raise RunError(f"{path} is damaged: it is no seal.", "Restore the run folder from a copy.") from error
    for file in files:
        if file.path.startswith("/") or "\\" in file.path or ".." in file.path.split("/") or ":" in file.path:
            raise RunError(f"{path} names a file outside the run folder.", "Restore the run folder from a copy.")
    return files


def seals(run: Run) -> list[Place]:
    """All seals of a run, in the order of their names."""
    root = run.path(FOLDER)
    return sorted(path.relative_to(root).with_suffix("").parts for path in root.rglob("*.json") if path.is_file())


def seal_start(run: Run) -> None:
    """Seal what a run was started with, unless that was done: run.yaml and the timings behind a bound of latency."""
    if not is_sealed(run, START):
        set_seal(run, START, [run.path(RUN_FILE), run.path("search", "latency.json")])


def seal_supernet(run: Run) -> None:
    """Seal the trained supernet."""
    set_seal(run, SUPERNET, [*run.path("supernet").glob("*.*"), run.path("log.jsonl")])


def seal_search(run: Run) -> None:
    """Seal a search that is at its end, with the short trainings of its finalists."""
    names = ("study.json", "journal.log", "candidates.jsonl", "pareto.json", "rerank.jsonl", "best.json")
    files = [run.path("search", name) for name in names]
    set_seal(run, SEARCH, [*files, *run.path("search", "rerank").rglob("*.*"), run.path("log.jsonl")])


def seal_retrained(run: Run) -> None:
    """Seal the retrained subnet."""
    set_seal(run, RETRAIN, [*run.path("retrain").glob("*.*"), run.path("log.jsonl")])


def seal_result(run: Run, *parts: str) -> None:
    """Seal the result eval/PARTS with the predictions behind it.

    Args:
        run: The run.
        parts: The path of the result below eval/, such as "test.json".
    """
    files = [run.path("eval", *parts), run.path("eval", "predictions", *parts)]
    if parts == ("test.json",):
        files.append(run.path("eval", "mistakes.json"))
    set_seal(run, result_place(*parts), files)


def artifact_place(name: str) -> Place:
    """The seal of the artifact export/NAME."""
    return ("export", name)


def result_place(*parts: str) -> Place:
    """The seal of the result eval/PARTS."""
    return ("eval", *parts[:-1], parts[-1].removesuffix(".json"))
