"""Predicts parts on all machines of a cluster; each worker has the artifact open once, with its threads or its GPU.

Parts and their files are noah's own, and not Ray Data's, whose checkpoints list the rows that are done: to go on, it
reads all images again and drops those. Here, a part that is done is never read again.
"""

from __future__ import annotations

import hashlib
import importlib.util
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from export.artifact.manifest import MANIFEST_FILE, Manifest
from export.formats.format import ModelFile
from export.formats.load import artifact_folder, load_predictor, read_artifact
from export.formats.registry import model_files
from export.predict.find_inputs import find_inputs
from export.predict.part_images import open_part
from export.predict.parts import SHARD_SIZE, Part
from export.predict.predict import Threshold, check_threshold, check_top, predict
from export.predict.prediction_table import PredictionWriter, name_columns
from export.predict.predictions_folder import (
    PLAN_FILE,
    PartSummary,
    Plan,
    parts_done,
    read_parts,
    write_failures,
    write_part,
)
from export.predict.predictor import Predictor
from export.runtime.onnx_session import is_cpu
from export.runtime.openvino_model import is_openvino
from noah.cluster.resources import Resources, cores_beside_gpu
from noah.cluster.session import Machine, check_place, connect, load_ray
from noah.cluster.workers import run_on_workers
from noah.data.decode import Remark
from noah.errors import MissingPackageError, NoahError, UsageError
from noah.files.shared_folder import SharedFolder
from noah.progress import Listener
from noah.settings.settings import ColumnSettings

_SLOW = 2.0
"""A part is slow if an image of it takes so many times as long as in the middle one of all parts."""
_SLOW_SECONDS = 1.0
"""And if the part took at least so much longer than it should have."""


@dataclass(frozen=True, slots=True)
class PackedArtifact:
    """The files of an artifact, for machines that do not see its folder.

    Attributes:
        files: Their bytes by name.
        model: Which of them is to be opened.
    """

    files: dict[str, bytes]
    model: str


@dataclass(frozen=True, slots=True)
class Asked:
    """How each part is predicted.

    Attributes:
        out: Where the predictions go: a path or an address.
        folder: What relative paths start from.
        seen: Files that each machine has to see, as absolute paths.
        top_k: Labels per image.
        threshold: What an image is called that no class is likely enough for; None for its likeliest class.
        batch_size: Images in one run of the model.
        decoders: Threads that decode images.
        threads: Threads of the model.
        provider: What runs the model; None for the first that runs there.
    """

    out: str
    folder: str
    seen: tuple[str, ...]
    top_k: int
    threshold: Threshold | None
    batch_size: int
    decoders: int
    threads: int
    provider: str | None


@dataclass(frozen=True, slots=True)
class Slow:
    """A part that took long.

    Attributes:
        part: Its name.
        machine: Where.
        seconds: How long it took.
        times: How many times as long an image took as in the middle one of all parts.
    """

    part: str
    machine: str
    seconds: float
    times: float


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a part took.

    Attributes:
        part: Its name.
        machine: Where.
        images: How many images it has, those included that could not be predicted.
        seconds: How long it took.
    """

    part: str
    machine: str
    images: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ClusterSummary:
    """What a folder of predictions holds now, and how it was filled.

    Attributes:
        images: How many images are predicted in it, by earlier commands, too.
        images_now: How many of them this one predicted.
        unsure: How many have no class of the least probability that was asked for.
        failures: (path, cause) of each that could not be predicted.
        remarks: (path, remark) for what was done to some when they were decoded.
        parts: How many parts there are.
        parts_before: How many of them were done before.
        parts_failed: (name, cause) of each that is still to be done.
        retries: How often a part was begun again because a machine or a process died.
        seconds: From the first part's beginning to the last one's end.
        machines: Images a second on each machine while it worked, by its name.
        slow: The parts that took long, the worst first.
    """

    images: int
    images_now: int
    unsure: int
    failures: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, Remark], ...]
    parts: int
    parts_before: int
    parts_failed: tuple[tuple[str, str], ...]
    retries: int
    seconds: float
    machines: dict[str, float]
    slow: tuple[Slow, ...]

    @property
    def images_per_second(self) -> float:
        """Images that this command predicted per second; 0 if there were none."""
        return self.images_now / self.seconds if self.seconds else 0.0


def predict_on_cluster(
    artifact: Path,
    patterns: Sequence[str],
    out: str,
    listener: Listener,
    *,
    where: str,
    top_k: int = 1,
    threshold: Threshold | None = None,
    columns: ColumnSettings | None = None,
    standard_input: BinaryIO | None = None,
    shard_size: int = SHARD_SIZE,
    batch_size: int = 32,
    decoders: int = 2,
    provider: str | None = None,
    threads: int | None = None,
) -> ClusterSummary:
    """Predict images into a folder of Parquet files, or go on with it.

    Args:
        artifact: The artifact's folder, or one of the models in it, on this machine; the others get it from here.
        patterns: What is to be predicted, as `find_inputs` takes it; each machine reads its parts itself.
        out: The folder, or an address such as s3://bucket/labels; all machines have to see it.
        listener: Receives the progress.
        where: As for `noah.cluster.session.connect`.
        top_k: Labels per image.
        threshold: What an image is called that no class is likely enough for; None for its likeliest class.
        columns: What the column of paths or images is called in tables.
        standard_input: Where the list that `-` stands for is read from.
        shard_size: Files in a part, or least rows of a table; an archive is a part, however large.
        batch_size: Images in one run of the model.
        decoders: Threads of a worker that decode images.
        provider: "tensorrt", "cuda" or "cpu"; None takes GPUs if the machines have any.
        threads: CPU threads of each worker's model; None for one, or beside a GPU its share of the machine's cores.

    Raises:
        UsageError: If there are no images, or the folder is for something else.
        MissingPackageError: If Ray, pyarrow or the package for an address is not installed.
        ArtifactError: If the artifact is damaged or does not run there.
        DataError: If a folder or a table cannot be read.
        NoahError: If a store or the cluster cannot be reached, or no worker can start.
    """
    check_place(where)
    load_ray()
    _check_parquet()
    manifest, model = read_artifact(artifact)
    file = model_files()[model]
    check_top(top_k, manifest.classes)
    check_threshold(threshold, manifest.classes)
    inputs = find_inputs(patterns, columns, standard_input)
    parts = inputs.divide(shard_size)
    by_name = {part.name: part for part in parts}
    for note in inputs.notes:
        listener.say(f"note      {note}")
    listener.say(f"images    {inputs}, in {len(parts):,} parts")
    packed = _pack(artifact_folder(artifact), manifest, model)
    folder = SharedFolder(out)
    options = {
        "--top": str(top_k),
        "--min-probability": "" if threshold is None else f"{threshold.least:g}",
        "--other": "" if threshold is None else threshold.other,
        "--shard-size": str(shard_size),
    }
    digest = hashlib.sha256(packed.files[MANIFEST_FILE] + packed.model.encode()).hexdigest()
    plan = Plan(digest, str(inputs), hashlib.sha256("\n".join(by_name).encode()).hexdigest(), options)
    begun = plan.settle(folder)
    done = read_parts(folder, by_name) if begun else {}
    before = len(done)
    if begun:
        listener.say(f"resume    {parts_done(before, len(parts), sum(each.images for each in done.values()))}")
    missing = {name: part for name, part in by_name.items() if name not in done}
    timings: list[Timing] = []
    failed: list[tuple[str, str]] = []
    retries, seconds = 0, 0.0
    if missing:
        with connect(where, listener) as cluster:
            resources, why = choose_resources(cluster.machines(), file, provider, threads)
            listener.say(f"workers   {resources} for each ({why})")
            cores = max(1, int(resources.cpus))
            seen = inputs.on_disk() + ((str((folder.path / PLAN_FILE).absolute()),) if folder.path else ())
            asked = Asked(
                out=out if folder.path is None else str(folder.path.absolute()),
                folder=str(Path.cwd()),
                seen=seen,
                top_k=top_k,
                threshold=threshold,
                batch_size=batch_size,
                decoders=max(decoders, cores) if resources.gpus else decoders,
                threads=cores,
                provider=choose_provider(file, provider, resources),
            )
            begun_at = math.inf

            def rate() -> str:
                images = sum(timing.images for timing in timings)
                return f"{images:,} images, {images / (time.monotonic() - begun_at):,.0f} a second" if images else ""

            outcomes = run_on_workers(
                cluster,
                partial(open_part_predictor, packed, asked),
                missing,
                resources,
                listener,
                title="predicting",
                unit="parts",
                summary=rate,
            )
            with closing(outcomes):
                for outcome in outcomes:
                    retries += outcome.retries
                    begun_at = min(begun_at, time.monotonic() - outcome.seconds)  # the start of a worker is no part
                    seconds = time.monotonic() - begun_at
                    if outcome.value is None:
                        cause = (
                            outcome.error.problem if isinstance(outcome.error, NoahError) else _spelled(outcome.error)
                        )
                        failed.append((outcome.name, cause))
                        continue
                    done[outcome.name] = outcome.value
                    count = outcome.value.images + len(outcome.value.failures)
                    timings.append(Timing(outcome.name, outcome.machine, count, outcome.seconds))
    ordered = {name: done[name] for name in by_name if name in done}
    write_failures(folder, ordered)
    if not failed:
        folder.remove_unfinished()
    now = {timing.part for timing in timings}
    return ClusterSummary(
        images=sum(each.images for each in ordered.values()),
        images_now=sum(each.images for name, each in ordered.items() if name in now),
        unsure=sum(each.unsure for each in ordered.values()),
        failures=tuple(failure for each in ordered.values() for failure in each.failures),
        remarks=tuple(remark for each in ordered.values() for remark in each.remarks),
        parts=len(parts),
        parts_before=before,
        parts_failed=tuple(failed),
        retries=retries,
        seconds=seconds,
        machines=machine_rates(timings),
        slow=find_slow(timings),
    )


def open_part_predictor(packed: PackedArtifact, asked: Asked) -> Callable[[Part, Listener], PartSummary]:
    """Open the artifact on this machine; gives what predicts a part.

    Raises:
        UsageError: If this machine does not see the images or the folder of the predictions.
        ArtifactError: If the artifact does not run here.
    """
    for path in asked.seen:
        if not Path(path).exists():
            raise UsageError(
                f"A machine of the cluster does not see {path}.",
                "Name places that all machines see, such as a folder of a shared file system or s3://BUCKET/FOLDER.",
            )
    with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
        for name, content in packed.files.items():
            copy = Path(scratch) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
        predictor = load_predictor(Path(scratch) / packed.model, provider=asked.provider, threads=asked.threads)
    return partial(predict_part, predictor, asked)


def predict_part(predictor: Predictor, asked: Asked, part: Part, listener: Listener) -> PartSummary:
    """Predict the images of a part, and store the rows.

    Raises:
        NoahError: If an archive, a table or a store cannot be read, or the predictions not be written.
    """
    columns = name_columns(asked.top_k, renames=asked.threshold is not None)
    with open_part(part, asked.folder) as (images, count), listener.bar("images", count, "images") as bar:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            bar.update(done)

        def rows(writer: PredictionWriter) -> PartSummary:
            made = predict(
                predictor,
                images,
                writer,
                batch_size=asked.batch_size,
                workers=asked.decoders,
                top_k=asked.top_k,
                threshold=asked.threshold,
                progress=advance,
            )
            return PartSummary(made.images, made.unsure, made.failures, made.remarks)

        return write_part(SharedFolder(asked.out), part.name, columns, rows)


def find_slow(timings: Sequence[Timing]) -> tuple[Slow, ...]:
    """The parts whose images took much longer than those of the middle one of all parts, the worst first."""
    rates = {timing.part: timing.seconds / timing.images for timing in timings if timing.images}
    if not rates:
        return ()
    middle = statistics.median(rates.values())
    slow = [
        Slow(timing.part, timing.machine, timing.seconds, rates[timing.part] / middle)
        for timing in timings
        if timing.images
        and rates[timing.part] > _SLOW * middle
        and timing.seconds - middle * timing.images > _SLOW_SECONDS
    ]
    return tuple(sorted(slow, key=lambda each: -each.times))


def machine_rates(timings: Iterable[Timing]) -> dict[str, float]:
    """Images a second of one worker on each machine while it predicted, by the name of the machine."""
    images: dict[str, int] = {}
    seconds: dict[str, float] = {}
    for timing in timings:
        images[timing.machine] = images.get(timing.machine, 0) + timing.images
        seconds[timing.machine] = seconds.get(timing.machine, 0.0) + timing.seconds
    return {machine: images[machine] / seconds[machine] for machine in sorted(images) if seconds[machine]}


def _pack(folder: Path, manifest: Manifest, model: str) -> PackedArtifact:
    files = {name: (folder / name).read_bytes() for name in (*manifest.files, MANIFEST_FILE)}
    return PackedArtifact(files, model)


def choose_resources(
    machines: Sequence[Machine], model: ModelFile, provider: str | None, threads: int | None
) -> tuple[Resources, str]:
    """What a worker asks for, and why in one line.

    Args:
        machines: Those of the cluster.
        model: The file that it opens.
        provider: What was asked to run it; None for whatever there is.
        threads: Cores for each, if a number was asked for.

    Raises:
        UsageError: If it needs a GPU, and no machine has one.
    """
    gpus = any(machine.resources.get("GPU") for machine in machines)
    on_cpu = is_cpu(provider) or is_openvino(provider) or "gpu" not in model.runs_on
    if not gpus and not on_cpu and (provider is not None or "cpu" not in model.runs_on):
        what = f"--provider {provider}" if "cpu" in model.runs_on else model.name
        raise UsageError(
            f"{what} needs a GPU, and no machine of the cluster has one that Ray knows of.",
            "Add a machine with a GPU, or export an artifact for the CPU: noah export --format onnx",
        )
    if gpus and not on_cpu:
        cores = threads or cores_beside_gpu(machine.resources for machine in machines)
        return Resources(cores, 1), "a worker for each GPU, with its share of the cores" if threads is None else "asked"
    return Resources(threads or 1), "workers run side by side; --threads changes it" if threads is None else "asked"


def choose_provider(model: ModelFile, provider: str | None, resources: Resources) -> str | None:
    """What is to run the model in a worker: what was asked for; without a GPU, what does not look for one.

    Ray hides no GPU from a worker that asks for none.
    """
    if provider is None and not resources.gpus and model.takes_provider and "gpu" in model.runs_on:
        return "cpu"
    return provider


def _spelled(error: Exception | None) -> str:
    return f"{type(error).__name__}: {error}"


def _check_parquet() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingPackageError(
            "--ray writes Parquet by the package pyarrow, which is not installed.",
            "Type: pip install 'noah-prompt-search[ray]'",
        )
