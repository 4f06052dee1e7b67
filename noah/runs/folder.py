"""The run folder: everything about one search on one dataset.

    runs/<dataset>/<id>/
        run.yaml        resolved settings with the source of each, choices, data, versions
        data/           hashes.npy of the images that it began with; duplicates.json if its splits have some in common
        damaged.csv     the images that could not be decoded as they are, and what was done; missing if there were none
        log.jsonl       what happened, with times
        lock            held by the process that is searching or retraining, which lock.owner names; where folders
                        cannot be locked, asking.lock by one that asks whether it is held
        supernet/       checkpoint.safetensors, losses.json; plan.json where a time limit chose the epochs
        search/         study.json, journal.log and lock: the record that all workers share; candidates.jsonl,
                        best.json, pareto.json, rerank.jsonl, rerank/ with a checkpoint of each finalist, latency.json
        retrain/        settings.json, subnet.json, checkpoint.safetensors, model.json; held_out.json if images are
                        held out
        eval/           test.json, artifact/<name>.json, on/<name>.json, predictions/ with labels for the first two,
                        mistakes.json with pictures for the first; <name>-damaged.csv of images that could not be
                        decoded as they are, and refused-<name>-damaged.csv if they were too many
        export/<name>/  model.onnx, predict.py, manifest.json
        trackers/       what TensorBoard and Weights & Biases store, and what each has received (`noah.trackers`)
        seals/          the SHA-256 of the files of each stage (`noah.runs.seals`)
        report.html     what `noah report` makes of all this; report/ has its figures
    runs/latest         the name of the latest run

Files are written atomically; lists that grow by a line are read up to their last whole line, and cut back to it by
whoever appends the next.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from noah.errors import CommandOrderError, RunError, RunExistsError, UsageError
from noah.files.atomic import make_folder, write_json, write_text
from noah.files.bounded import LARGEST_JSON, LARGEST_YAML, dump_yaml, parse_json, parse_yaml, read_bounded
from noah.files.jsonl import START_AGAIN, append_line
from noah.files.latest import LATEST, check_name, follow_latest, is_run, read_latest, run_option, write_latest
from noah.files.lock import exclusive, is_held
from noah.hardware.choice import Choice
from noah.hardware.processes import launched_processes
from noah.runs.file_shapes import Description, check_shape
from noah.settings.layers import Layer, resolve
from noah.settings.settings import Settings
from noah.version import __version__

RUN_FILE = "run.yaml"
DAMAGED_FILE = "damaged.csv"
"""Lists the images that could not be decoded as they are, if there were any."""
_VERSIONS = (
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "pillow-heif",
    "pillow-jxl-plugin",
    "onnx",
    "onnxruntime-gpu",
    "onnxruntime",
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run folder.

    Attributes:
        folder: The run folder.
        writes: Whether this process writes to it. If a launcher started several processes, only the first does; the
            others would write the same.
    """

    folder: Path
    writes: bool = True

    @property
    def name(self) -> str:
        """The run's name for `--run`, <dataset>/<id>."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def option(self) -> str:
        """The argument of `--run` for this run, quoted: its name in the default folder, otherwise its path."""
        return run_option(self.folder)

    def path(self, *parts: str) -> Path:
        """A path inside the run folder; nothing is created."""
        return self.folder.joinpath(*parts)

    def description(self) -> dict[str, Any]:
        """Read run.yaml.

        Raises:
            RunError: If it is damaged.
        """
        path = self.path(RUN_FILE)
        try:
            value = parse_yaml(read_bounded(path, LARGEST_YAML).decode())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read: {error}", START_AGAIN) from error
        if not isinstance(value, dict) or not isinstance(value.get("settings"), dict):
            raise RunError(f"{path} holds no settings.", START_AGAIN)
        description: dict[str, Any] = check_shape(value, Description, path, START_AGAIN)
        return description

    def settings(self, changes: Sequence[Layer] = ()) -> Settings:
        """The settings that the run was started with, and changes to them for this one command."""
        return resolve([Layer(source=str(self.path(RUN_FILE)), values=self.description()["settings"]), *changes])[0]

    def read_json(self, *parts: str) -> Any:
        """Read a JSON file of the run.

        Raises:
            RunError: If it is missing or damaged.
        """
        path = self.path(*parts)
        try:
            return parse_json(read_bounded(path, LARGEST_JSON).decode())
        except FileNotFoundError as error:
            raise RunError(f"{path} is missing.", START_AGAIN) from error
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged: {error}", START_AGAIN) from error

    def write_json(self, value: Any, *parts: str) -> None:
        """Write a JSON file of the run atomically."""
        if self.writes:
            write_json(self.path(*parts), value)

    def append(self, record: Mapping[str, Any], *parts: str) -> None:
        """Append a line to a JSON lines file of the run."""
        if self.writes:
            append_line(self.path(*parts), record)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing to this run until the `with` block or this process ends.

        Nothing happens in a process that only reads.

        Raises:
            RunBusyError: If another process holds the lock.
        """
        if not self.writes:
            yield
            return
        with exclusive(self.path("lock"), self.name):
            yield

    def is_locked(self) -> bool:
        """Whether another process is writing to this run; False in a process that only reads."""
        return self.writes and is_held(self.path("lock"))

    def log(self, stage: str, event: str, **details: Any) -> None:
        """Add a line to log.jsonl, with the time."""
        record = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "stage": stage,
            "event": event,
            **details,
        }
        self.append(record, "log.jsonl")


def create_run(
    root: Path,
    settings: Settings,
    origins: Mapping[str, str],
    *,
    dataset: str,
    name: str | None,
    facts: Mapping[str, Any],
    choices: Sequence[Choice],
) -> Run:
    """Create a run folder with its run.yaml and make it the latest.

    Args:
        root: The folder of all runs.
        settings: The resolved settings of the run.
        origins: The source of each setting.
        dataset: The name of the dataset, which becomes a folder name.
        name: The run's id, which becomes a folder name; None means the date and time, followed by -2, -3 and so on for
            runs of the same second.
        facts: Additional content of run.yaml, such as the data and the preprocessing.
        choices: The automatic choices to record.

    Raises:
        UsageError: If the name is a path or that of a hidden folder.
        RunExistsError: If a run of that name exists already.
        RunError: If run.yaml would be more than noah reads back.
    """
    check_new_name(root, dataset, name, given="given" in facts)
    text = describe(root, settings, origins, dataset=dataset, facts=facts, choices=choices)
    parent = root / _folder_name(dataset)
    folder = make_folder(parent, datetime.now().strftime("%Y%m%d-%H%M%S")) if name is None else parent / name
    write_text(folder / RUN_FILE, text)
    run = Run(folder)
    write_latest(root, run.name)
    return run


def describe(
    root: Path,
    settings: Settings,
    origins: Mapping[str, str],
    *,
    dataset: str,
    facts: Mapping[str, Any],
    choices: Sequence[Choice],
) -> str:
    """The text of run.yaml for a new run; arguments as of `create_run`.

    Raises:
        RunError: If it is more than noah reads back.
    """
    dataset = _folder_name(dataset)
    description = {
        "noah": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "dataset": dataset,
        "settings": settings.model_dump(mode="json"),
        "origins": dict(origins),
        "choices": [{"what": c.what, "value": c.value, "reason": c.reason} for c in choices],
        **facts,
        "versions": installed_versions(),
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
    }
    return dump_yaml(root / dataset / RUN_FILE, description)


def check_new_name(root: Path, dataset: str, name: str | None, *, given: bool) -> None:
    """Refuse the name of a new run if it is a path, or if such a run already exists.

    Args:
        root: The folder of all runs.
        dataset: The name of the dataset.
        name: The run's id; None is always accepted.
        given: Whether the run's subnet is given instead of searched, which changes the hint.

    Raises:
        UsageError: If the name is a path or that of a hidden folder, or the file `latest` could not hold it.
        RunExistsError: If a run of that name exists already.
    """
    parent = root / _folder_name(dataset)
    check_name(f"{parent.name}/{name or 'x'}", root)
    if name is None:
        return
    if name in (".", "..") or set(name) & {"/", "\\"}:
        raise UsageError(
            f"A run cannot be named {name!r}: it is a name below {parent}/, not a path.",
            "Type only the last part, such as --run first.",
        )
    if name.startswith("."):
        raise UsageError(
            f"A run cannot be named {name!r}: it would be a hidden folder, which `noah runs` does not list.",
            "Leave out the dot at the beginning.",
        )
    folder = parent / name
    if (folder / RUN_FILE).exists() or (folder.exists() and any(folder.iterdir())):
        raise RunExistsError(
            f"The run folder {folder} exists already.",
            "Choose another name with --name."
            if given
            else f"Go on with it: noah search --resume --run {Run(folder).option}. Or choose another name with --run.",
        )


def _folder_name(dataset: str) -> str:
    """The dataset's name, changed if the folder would be hidden or collide with the file `latest`."""
    if dataset.startswith("."):
        dataset = dataset.lstrip(". ") or "images"
    return f"{LATEST}-images" if dataset == LATEST else dataset


def open_run(root: Path, name: str | None) -> Run:
    """Open the run with this name, id or path; None or "latest" means the latest, DATASET/latest that on a dataset.

    Raises:
        CommandOrderError: If there is no run yet.
        UsageError: If there is no run with that name, or several with that id.
    """
    if name is None or name == LATEST:
        name = read_latest(root)
        if name is None:
            raise CommandOrderError(f"There is no run under {root}/ yet.", "Start with: noah search --dataset digits")
    for folder in (root / name, follow_latest(Path(name))):
        if is_run(folder):
            return Run(folder, launched_processes().is_first)
    if latest := _latest_on(root, name):
        return Run(latest, launched_processes().is_first)
    same_id = [
        Run(path.parent, launched_processes().is_first)
        for path in sorted(root.glob(f"[!.]*/[!.]*/{RUN_FILE}"))
        if path.parent.name == name
    ]
    if len(same_id) > 1:
        raise UsageError(
            f"Several runs have the id {name}.", f"Give one of them in full: {', '.join(run.name for run in same_id)}."
        )
    if same_id:
        return same_id[0]
    known = sorted(f"{path.parent.parent.name}/{path.parent.name}" for path in root.glob(f"[!.]*/[!.]*/{RUN_FILE}"))
    raise UsageError(
        f"There is no run {name} under {root}/.",
        f"The runs are: {', '.join(known[-5:])}." if known else "Start with: noah search --dataset digits",
    )


def _latest_on(root: Path, name: str) -> Path | None:
    """The run folder that DATASET/latest means: the one that was created last; None for any other name."""
    dataset, _, last = name.rpartition("/")
    if last != LATEST or not dataset or "/" in dataset:
        return None
    if (overall := read_latest(root)) and overall.startswith(f"{dataset}/") and is_run(root / overall):
        return root / overall
    found = [path.parent for path in (root / dataset).glob(f"[!.]*/{RUN_FILE}")]
    return max(found, key=_created, default=None)


def _created(folder: Path) -> tuple[str, int]:
    """When a run was created: to the second as run.yaml tells it, then as the file itself does."""
    try:
        told = str(Run(folder).description().get("created", ""))
    except RunError:
        told = ""
    return told, (folder / RUN_FILE).stat().st_mtime_ns


def installed_versions() -> dict[str, str]:
    """The versions of noah and of the libraries that affect its results."""
    found = {"noah": __version__, "python": platform.python_version()}
    for package in _VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
