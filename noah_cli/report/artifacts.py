"""What was exported of a run: the proof of each artifact, its accuracy and its speed beside the plain backbone's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from export.artifact.manifest import MANIFEST_FILE, Manifest, read_manifest
from export.predict.runnable import Runnable, first_here, runnables
from noah.errors import ArtifactError
from noah.evaluation.significance import Proportion
from noah.runs.folder import Run
from noah_cli.report.reading import Missing, well_formed
from noah_cli.report.tested import read_share

BENCH_FILE = "bench.json"
"""What `noah bench --out` is asked to write in the run folder."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an artifact is for batches of one size.

    Args:
        batch: Images in a batch.
        milliseconds: Median time of the batch.
        images_per_second: Throughput.
        ratio: How many times as fast as what it was compared with: lower quartile, median, upper quartile; None where
            it was compared with nothing.
    """

    batch: int
    milliseconds: float
    images_per_second: float
    ratio: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Bench:
    """What `noah bench` found.

    Args:
        speeds: Model -> how fast it is; what was compared with is one of them.
        compared_with: Names of what others were compared with.
        providers: Model -> what ran it.
        stale: Artifacts that were exported anew since; they are not in `speeds`.
        machine: Where it was measured, in words.
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
        name: Its folder.
        manifest: What it says of itself.
        megabytes: Size of its files, in 2^20 bytes.
        test: Its accuracy on the test split; None where this artifact was not tested.
        tested: Which of its models that is of; None where none was tested.
        models: What `noah eval` and `noah bench` run of it, the usual one first.
    """

    name: str
    manifest: Manifest
    megabytes: float
    test: Proportion | None
    tested: Runnable | None
    models: tuple[Runnable, ...]

    @property
    def tested_file(self) -> str:
        """The file that was tested, where it is not the one that the artifact's name stands for; else empty."""
        return self.tested.file if self.tested and self.tested != self.models[0] else ""

    @property
    def tested_path(self) -> str:
        """What was tested, below the folder of artifacts."""
        return f"{self.name}/{self.tested_file}" if self.tested_file else self.name

    @property
    def untested(self) -> Missing | None:
        """What measures its accuracy on this machine; None where it was measured, or other programs run it."""
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
        artifacts: By name.
        unreadable: Those that this noah does not read: name and problem.
        bench: Their speed.
        bench_command: What measures that of all that run on this machine; empty where none does.
    """

    artifacts: tuple[Artifact, ...]
    unreadable: tuple[tuple[str, str], ...]
    bench: Bench | Missing
    bench_command: str


def gather_exported(run: Run, commands: tuple[str, ...]) -> Exported | Missing:
    """Read the manifests of a run's artifacts and what was measured of them.

    Args:
        run: The run.
        commands: What brings a first artifact.

    Raises:
        RunError: A file is damaged.
    """
    artifacts, unreadable = [], []
    for path in sorted(run.path("export").glob(f"*/{MANIFEST_FILE}")):
        name = path.parent.name
        try:
            manifest = read_manifest(path)
        except ArtifactError as error:  # of an older noah, perhaps; the report tells it
            unreadable.append((name, error.problem))
            continue
        size = sum(record.bytes for record in manifest.files.values()) / 2**20
        models = runnables(path.parent, manifest)
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
        bench = Missing("Speed has not been measured, or its figures were not kept in the run.", (command,))
    else:
        bench = Missing("Speed has not been measured; none of these artifacts is run by noah on this machine.")
    return Exported(tuple(artifacts), tuple(unreadable), bench, command)


def _test(run: Run, model: Runnable, manifest: Manifest) -> Proportion | None:
    """The accuracy of a model, if what was tested is what lies there now."""
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
    """What `noah bench` counts of an artifact: the model, and the weights beside it."""
    model = artifact.models[0].file
    return sum(record.bytes for name, record in artifact.manifest.files.items() if name in (model, f"{model}.data"))
