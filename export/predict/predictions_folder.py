"""A folder of predictions, a Parquet file for each part, which can be gone on with where it was left.

    part-00000-3f2a9c0d1e4b.parquet   the rows of a part; there as a whole, or not at all
    _noah.json                        what the folder is for: which artifact, images and options
    _failures.csv                     path and cause of each image that could not be predicted

Programs that read a folder of Parquet files pass over names that begin with an underscore. What else is known of a
part, such as its failures, stands in the metadata of its file, so that it is there exactly if the rows are.
"""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from export.predict.image_tables import open_parquet
from export.predict.prediction_table import ParquetWriter, PredictionWriter
from noah.data.decode import Remark
from noah.errors import DataError, UsageError
from noah.files.atomic import write_json
from noah.files.bounded import LARGEST_JSON, parse_json
from noah.files.foreign_text import csv_text, printable
from noah.files.shared_folder import SharedFolder
from noah.progress import counted

PLAN_FILE = "_noah.json"
FAILURES_FILE = "_failures.csv"
SUFFIX = ".parquet"
_NOTE = "noah"
"""Under which name a part's summary stands in its file's metadata."""
_AT_ONCE = 16
"""Files whose metadata is read at the same time."""


@dataclass(frozen=True, slots=True)
class PartSummary:
    """What became of the images of a part.

    Attributes:
        images: How many were predicted and written.
        unsure: How many of these have no class of the least probability that was asked for.
        failures: (path, cause) of each that was not.
        remarks: (path, remark) for what was done to some when they were decoded.
    """

    images: int
    unsure: int
    failures: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, Remark], ...]

    @classmethod
    def from_json(cls, value: Any) -> PartSummary:
        """Undo `dataclasses.asdict` and JSON.

        Raises:
            ValueError: If it is something else.
        """
        try:
            return cls(
                int(value["images"]),
                int(value["unsure"]),
                tuple((str(path), str(cause)) for path, cause in value["failures"]),
                tuple((str(path), remark) for path, remark in value["remarks"]),
            )
        except (TypeError, KeyError) as error:
            raise ValueError("it tells nothing of its images") from error


@dataclass(frozen=True, slots=True)
class Plan:
    """What a folder of predictions is for; fixed when it is begun.

    Attributes:
        artifact: SHA-256 of the artifact's manifest, which tells that of each file, and the name of the model.
        inputs: How many images there are, in words.
        parts: SHA-256 of the names of all parts.
        options: The options that rows depend on, as typed, such as {"--top": "1"}; an empty text for none.
    """

    artifact: str
    inputs: str
    parts: str
    options: dict[str, str]

    def settle(self, folder: SharedFolder) -> bool:
        """Write the plan into an empty folder, or compare it with the one that is there.

        Returns:
            Whether the folder was begun before.

        Raises:
            UsageError: If there is another plan, or the folder holds something else.
            NoahError: If it cannot be read or written.
        """
        if folder.path is not None and folder.path.exists() and not folder.path.is_dir():
            raise UsageError(f"{folder} is a file.", "With --ray, predictions are written into a folder: --out labels")
        names = folder.names()
        if PLAN_FILE in names:
            self._compare(folder)
            return True
        if any(not name.startswith(".") for name in names):
            raise UsageError(f"{folder} is not empty, and holds no predictions.", "Name a new folder: --out labels-2")
        with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
            write_json(Path(scratch) / PLAN_FILE, asdict(self))
            folder.put(Path(scratch) / PLAN_FILE, PLAN_FILE)
        return False

    def _compare(self, folder: SharedFolder) -> None:
        try:
            with folder.open(PLAN_FILE) as file:
                begun = Plan(**parse_json(file.read(LARGEST_JSON)))
            options = {str(name): str(value) for name, value in begun.options.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"{folder}/{PLAN_FILE} is damaged.", "Name a new folder: --out labels-2") from error
        problems = []
        if begun.artifact != self.artifact:
            problems.append("it is for another artifact")
        if begun.inputs != self.inputs:
            problems.append(f"it is for {begun.inputs}, and now there are {self.inputs}")
        elif begun.parts != self.parts and options.get("--shard-size") == self.options["--shard-size"]:
            problems.append("it is for other images, or the same in another order or spelling")
        for name, value in self.options.items():
            if options.get(name) != value:
                was, now = (f"{name} {each}" if each else f"no {name}" for each in (options.get(name), value))
                problems.append(f"it was begun with {was}, and now there is {now}")
        if problems:
            raise UsageError(
                f"{folder} cannot be gone on with: {'; '.join(problems)}.",
                "Repeat the command as it was, or name a new folder: --out labels-2",
            )


def write_part(
    folder: SharedFolder, name: str, columns: Sequence[str], predict: Callable[[PredictionWriter], PartSummary]
) -> PartSummary:
    """Store the predictions of a part, which appear once all of them are there.

    Args:
        folder: Where to.
        name: The part's name.
        columns: The names of the columns.
        predict: Writes the rows.

    Raises:
        NoahError: If it cannot be written, or whatever `predict` raises.
    """
    with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
        file = Path(scratch) / f"{name}{SUFFIX}"
        with ParquetWriter(file, columns) as writer:
            summary = predict(writer)
            writer.note(_NOTE, json.dumps(asdict(summary)))
        folder.put(file, file.name)
    return summary


def read_parts(folder: SharedFolder, names: Iterable[str]) -> dict[str, PartSummary]:
    """What is known of those among some parts that are there, in the order of the names.

    Raises:
        DataError: If the file of one cannot be read.
        NoahError: If the folder cannot be reached.
    """
    there = {name.removesuffix(SUFFIX) for name in folder.names() if name.endswith(SUFFIX)}
    done = [name for name in names if name in there]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(done, pool.map(lambda name: _read_part(folder, name), done), strict=True))


def _read_part(folder: SharedFolder, name: str) -> PartSummary:
    path = f"{str(folder).rstrip('/')}/{name}{SUFFIX}"
    with open_parquet(path) as (_, file):
        note = (file.metadata.metadata or {}).get(_NOTE.encode(), b"")
        try:
            return PartSummary.from_json(parse_json(note))
        except ValueError as error:
            raise DataError(
                f"{path} was not written by noah predict --ray, or is damaged: {error}.",
                "Remove it, and repeat the command, which writes it again.",
            ) from error


def write_failures(folder: SharedFolder, summaries: Mapping[str, PartSummary]) -> int:
    """Write the list of all images that could not be predicted, if there are any, and give their number."""
    failures = [failure for summary in summaries.values() for failure in summary.failures]
    if failures:
        with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
            path = Path(scratch) / FAILURES_FILE
            with path.open("w", encoding="utf-8", newline="") as file:
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(("path", "cause"))
                rows.writerows((csv_text(printable(name)), csv_text(cause)) for name, cause in failures)
            folder.put(path, FAILURES_FILE)
    return len(failures)


def parts_done(done: int, parts: int, images: int) -> str:
    """How far a folder is, in words."""
    return f"{done:,} of {counted(parts, 'parts')} are done, with {counted(images, 'images')}"
