"""The artifacts of a run: their parity, their accuracy, and their speed beside the plain backbone's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.artifact.manifest import MANIFEST_FILE, Manifest, read_manifest
from export.artifact.records import ChoiceRecord
from export.formats.registry import format_of
from export.formats.runnable import Runnable, first_here, runnables
from noah.errors import ArtifactError
from noah.evaluation.significance import Proportion
from noah.runs.folder import Run
from noah_cli.report.reading import Missing, well_formed
from noah_cli.report.tested import read_share

BENCH_FILE = "bench.json"
"""The file in the run folder that the report's `noah bench --out` command writes."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an artifact is for batches of one size.

    Args:
        batch: Images in a batch.
        milliseconds: Median time of a batch.
        images_per_second: Throughput over all rounds.
        ratio: How many times as fast as its reference: lower quartile, median, upper quartile; None without one.
    """

    batch: int
    milliseconds: float
    images_per_second: float
    ratio: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Bench:
    """The results of `noah bench`.

    Args:
        speeds: Speeds by model, including the references.
        compared_with: Names of the references.
        providers: The provider that ran each model.
        stale: Artifacts that have been exported again since; they are not in `speeds`.
        machine: The machine that they were measured on, in words.
    """

    speeds: Mapping[str, tuple[Speed, ...]]
    compared_with: tuple[str, ...]
    providers: Mapping[str, str]
    stale: tuple[str, ...]
    machine: str


@dataclass(frozen=True, slots=True)
class Artifact:
    """One exported artifact.

    Args:
        name: Name of its folder.
        manifest: The content of its `manifest.json`.
        megabytes: Size of its files, in 2^20 bytes.
        test: Its accuracy on the test split; None if it was not tested.
        tested: The model that was tested; None if none was.
        models: The models that `noah eval` and `noah bench` can run, the usual one first.
    """

    name: str
    manifest: Manifest
    megabytes: float
    test: Proportion | None
    tested: Runnable | None
    models: tuple[Runnable, ...]

    @property
    def tested_file(self) -> str:
        """The file that was tested, if it is not the artifact's usual one; else empty."""
        return self.tested.file if self.tested and self.tested != self.models[0] else ""

    @property
    def tested_path(self) -> str:
        """The path of what was tested, relative to the folder of artifacts."""
        return f"{self.name}/{self.tested_file}" if self.tested_file else self.name

    @property
    def untested(self) -> Missing | None:
        """The command that measures its accuracy here; None if it was measured, or only other programs run it."""
        if self.tested or not self.models:
            return None
        problem = f"The accuracy of {self.name} has not been measured"
        here = first_here(self.models)
        if here is None:
            return Missing(f"{problem}: {self.models[0].why_not_here}.")
        return Missing(f"{problem}.", (here.eval_command,))


@dataclass(frozen=True, slots=True)
class Exported:
    """All artifacts of a run.

    Args:
        artifacts: Sorted by name.
        unreadable: Name and problem of each artifact that cannot be read.
        bench: Their speeds.
        bench_command: Measures the speed of all that run on this machine; empty if none does.
    """

    artifacts: tuple[Artifact, ...]
    unreadable: tuple[tuple[str, str], ...]
    bench: Bench | Missing
    bench_command: str

    @property
    def choices(self) -> dict[str, ChoiceRecord]:
        """How artifacts were chosen as the fastest, by their names; those that were asked for by name are not here."""
        return {one.name: one.manifest.choice for one in self.artifacts if one.manifest.choice is not None}


def gather_exported(run: Run, commands: tuple[str, ...]) -> Exported | Missing:
    """Read the manifests of a run's artifacts and their measurements.

    Args:
        run: The run to read.
        commands: What to type to export a first artifact.

    Raises:
        RunError: If a file is damaged.
    """
    artifacts, unreadable = [], []
    for path in sorted(run.path("export").glob(f"*/{MANIFEST_FILE}")):
        name = path.parent.name
        try:
            manifest = read_manifest(path)
            models = runnables(path.parent, manifest)
        except ArtifactError as error:  # perhaps from an older noah; the report says so
            unreadable.append((name, error.problem))
            continue
        size = sum(record.bytes for record in manifest.files.values()) / 2**20
        tests = {model: _test(run, model, manifest) for model in models}
        tested = next((model for model, test in tests.items() if test), None)
        artifacts.append(Artifact(name, manifest, size, tests[tested] if tested else None, tested, models))
    if not artifacts and not unreadable:
        return Missing("Nothing has been exported yet.", commands)
    usual = [artifact.models[0] for artifact in artifacts if artifact.models]
    paths = [shlex.quote(str(model.path)) for model in usual if not model.why_not_here]
    command = ""
    if paths:
        command = f"noah bench {' '.join(paths)} --against backbone --out {shlex.quote(str(run.path(BENCH_FILE)))}"
    bench: Bench | Missing
    if run.path(BENCH_FILE).is_file():
        bench = _bench(run, artifacts)
    elif command:
        bench = Missing("Speed has not been measured, or its figures were not saved in the run.", (command,))
    else:
        bench = Missing("Speed has not been measured; noah can run none of these artifacts on this machine.")
    return Exported(tuple(artifacts), tuple(unreadable), bench, command)


def _test(run: Run, model: Runnable, manifest: Manifest) -> Proportion | None:
    """Read the accuracy of a model, unless it has been exported again since."""
    parts = ("eval", *model.result(run))
    if not run.path(*parts).is_file():
        return None
    with well_formed(run.path(*parts), "no result of a test"):
        result = run.read_json(*parts)
        if result["files"] != manifest.file_hashes:
            return None
        return read_share(result)


def _bench(run: Run, artifacts: list[Artifact]) -> Bench:
    with well_formed(run.path(BENCH_FILE), "no figures of `noah bench`"):
        content = run.read_json(BENCH_FILE)
        sizes = {artifact.name: _model_bytes(artifact) for artifact in artifacts if artifact.models}
        speeds, providers, stale = {}, {}, []
        for model in content["models"]:
            name = str(model["name"])
            if name in sizes and int(model["bytes"]) != sizes[name]:
                stale.append(name)
                continue
            speeds[name] = _speeds(model)
            providers[name] = str(model["provider"])
        references = {model["compared_with"]: None for model in content["models"] if model["compared_with"]}
        machine = content["machine"]
        return Bench(
            speeds,
            tuple(references),
            providers,
            tuple(stale),
            f"{machine['processor']}, {machine['cores']} cores, onnxruntime {machine['onnxruntime']}",
        )


def _speeds(model: Mapping[str, Any]) -> tuple[Speed, ...]:
    ratios = model["ratios"] or [None] * len(model["timings"])
    return tuple(
        Speed(
            int(timing["batch"]),
            1000 * float(timing["p50"]),
            float(timing["throughput"]),
            None if ratio is None else (float(ratio["low"]), float(ratio["median"]), float(ratio["high"])),
        )
        for timing, ratio in zip(model["timings"], ratios, strict=True)
    )


def _model_bytes(artifact: Artifact) -> int:
    """The size that `noah bench` gives for an artifact: the model and the weights beside it."""
    model = format_of(artifact.manifest).models[0]
    return sum(record.bytes for name, record in artifact.manifest.files.items() if name in (model.name, model.weights))
