"""Measures artifacts: latency and throughput by batch size, load time and size, beside the plain backbone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.artifact.manifest import ENGINE_FILE
from export.artifact.records import Precision
from export.checks.plain_backbone import PlainBackbone, plain_backbone, write_plain_backbone
from export.checks.speed import Ratio, Timing, speedup, summarize, time_in_turns
from export.predict.predictor import Predictor
from export.runtime.engine import open_engine
from export.runtime.onnx_session import open_session
from export.runtime.tensors import OpenModel
from noah.progress import Listener

_LOADS = 3
"""Times that a file is opened; the fastest counts, with the file in the system's cache."""


@dataclass(frozen=True)
class Contender:
    """A model to be measured.

    Attributes:
        name: What it is called in the table.
        model: Opened.
        provider: What runs it.
        image_size: Height and width in pixels.
        raw_pixels: Whether it takes uint8 pixels; else normalized float32.
        load_seconds: To open it.
        bytes: Size of its file, weights beside it included.
        reference: The name of the contender that it is compared with; None where it is compared with none.
    """

    name: str
    model: OpenModel
    provider: str
    image_size: tuple[int, int]
    raw_pixels: bool
    load_seconds: float
    bytes: int
    reference: str | None


@dataclass(frozen=True)
class Measurement:
    """What was found of one contender.

    Attributes:
        contender: Which.
        timings: One for each batch size.
        ratios: As many, or none where it is compared with none.
    """

    contender: Contender
    timings: tuple[Timing, ...]
    ratios: tuple[Ratio, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it in types that JSON has; ratios first, times in seconds."""
        contender = self.contender
        return {
            "name": contender.name,
            "compared_with": contender.reference,
            "ratios": [vars(ratio) for ratio in self.ratios],
            "timings": [vars(timing) for timing in self.timings],
            "load_seconds": contender.load_seconds,
            "bytes": contender.bytes,
            "provider": contender.provider,
        }


def measure(
    predictors: Sequence[Predictor],
    against: Predictor | Precision | None,
    *,
    batches: Sequence[int],
    seconds: float,
    provider: str | None,
    threads: int | None,
    listener: Listener,
) -> list[Measurement]:
    """Measure artifacts in turns with what they are compared with.

    What is timed is the model alone, on random images that are ready for it: neither decoding nor, where that is not
    part of the model, normalization.

    Args:
        predictors: The artifacts.
        against: Another artifact, the plain backbone in a precision, or nothing.
        batches: Batch sizes.
        seconds: For each model and batch size.
        provider: As `open_session`, for the plain backbone.
        threads: Likewise.
        listener: Told the progress.

    Returns:
        The artifacts in the order given, then what they are compared with.
    """
    with ExitStack() as stack:
        references: dict[object, Contender] = {}
        contenders = []
        names = _names([*predictors, against] if isinstance(against, Predictor) else predictors)
        for predictor, name in zip(predictors, names, strict=False):
            reference: str | None = None
            if isinstance(against, Predictor):
                references.setdefault(0, _from_predictor(against, names[-1], threads, None))
                reference = names[-1]
            elif against is not None:
                kind = plain_backbone(predictor.manifest, against)
                if kind not in references:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noah-")))
                    references[kind] = _from_backbone(kind, folder, len(references), provider, threads, listener)
                reference = references[kind].name
            contenders.append(_from_predictor(predictor, name, threads, reference))
        return _measure([*contenders, *references.values()], batches, seconds, listener)


def _measure(
    contenders: Sequence[Contender], batches: Sequence[int], seconds: float, listener: Listener
) -> list[Measurement]:
    timings: list[list[Timing]] = [[] for _ in contenders]
    ratios: list[list[Ratio]] = [[] for _ in contenders]
    place = {contender.name: index for index, contender in enumerate(contenders)}
    with listener.bar("timing in turns", len(batches), "batch sizes") as bar:
        for number, batch in enumerate(batches):
            runs = [partial(contender.model.run, _images(contender, batch)) for contender in contenders]

            def progress(share: float, done: int = number) -> None:
                bar.update(done + share)

            durations = time_in_turns(runs, seconds * len(contenders), progress)
            for index, contender in enumerate(contenders):
                timings[index].append(summarize(durations[index], batch))
                if contender.reference is not None:
                    ratios[index].append(speedup(durations[index], durations[place[contender.reference]]))
    return [
        Measurement(contender, tuple(timings[index]), tuple(ratios[index]))
        for index, contender in enumerate(contenders)
    ]


def _images(contender: Contender, batch: int) -> NDArray[Any]:
    """Random images, the same for every contender of a size."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *contender.image_size, 3), dtype=np.uint8)
    if contender.raw_pixels:
        return pixels
    return np.ascontiguousarray(((pixels.astype(np.float32) - 127.5) / 64).transpose(0, 3, 1, 2))


def _from_predictor(predictor: Predictor, name: str, threads: int | None, reference: str | None) -> Contender:
    manifest, file = predictor.manifest, predictor.file

    def load() -> object:
        if file.name == ENGINE_FILE and manifest.engine is not None:
            return open_engine(file, manifest.engine)
        return open_session(file, provider=predictor.provider, threads=threads)

    return Contender(
        name=name,
        model=predictor.model,
        provider=predictor.provider,
        image_size=(predictor.preprocessing.height, predictor.preprocessing.width),
        raw_pixels=manifest.input.values == "raw",
        load_seconds=_load_seconds(load),
        bytes=_bytes(file),
        reference=reference,
    )


def _from_backbone(
    kind: PlainBackbone, folder: Path, number: int, provider: str | None, threads: int | None, listener: Listener
) -> Contender:
    file = folder / "backbone.onnx"
    listener.say(f"writing   the plain {kind.architecture}, {kind.precision}, as the artifact was written")
    write_plain_backbone(kind, file)
    opened = open_session(file, provider=provider, threads=threads)
    return Contender(
        name="plain backbone" if number == 0 else f"plain backbone {number + 1}",
        model=opened,
        provider=opened.provider,
        image_size=kind.image_size,
        raw_pixels=kind.raw_pixels,
        load_seconds=_load_seconds(lambda: open_session(file, provider=opened.provider, threads=threads)),
        bytes=_bytes(file),
        reference=None,
    )


def _load_seconds(load: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_LOADS):
        started = time.perf_counter()
        load()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _bytes(file: Path) -> int:
    beside = file.with_name(f"{file.name}.data")
    return file.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _names(predictors: Sequence[Predictor]) -> list[str]:
    """The name of each artifact; with its run's, where two have the same, and numbered, where that does not help."""
    names = [predictor.name for predictor in predictors]
    if len(set(names)) < len(names):
        names = [f"{predictor.manifest.run.name}/{predictor.name}" for predictor in predictors]
    return [name if names.count(name) == 1 else f"{name} ({index + 1})" for index, name in enumerate(names)]
