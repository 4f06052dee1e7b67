"""Measures artifacts beside the plain backbone: latency and throughput by batch size, load time and file size."""

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

from export.artifact.records import Precision
from export.checks.plain_backbone import PlainBackbone, plain_backbone, write_plain_backbone
from export.checks.speed import Durations, Ratio, Timing, speedup, summarize, time_in_turns
from export.formats.format import Opening
from export.formats.load import open_again
from export.formats.onnx import open_onnx
from export.formats.registry import model_files
from export.predict.predictor import Predictor
from export.runtime.tensors import OpenModel
from noah.errors import NotHereError
from noah.progress import Listener

_LOADS = 3
"""How often a file is opened; the fastest time counts, when the file is in the system's cache."""
PHOTOGRAPH = (375, 500)
"""Height and width, in pixels, of the images for a model that takes any: a common size on the web."""


@dataclass(frozen=True)
class Contender:
    """A model to be measured.

    Attributes:
        name: Its name in the table.
        model: Open and ready to run.
        provider: The onnxruntime provider, or the engine's package and GPU.
        image_size: Height and width in pixels.
        raw_pixels: Whether it takes uint8 pixels; else normalized float32.
        load_seconds: Time to open it; None if that was not measured.
        bytes: Size of its file, including weights in a file beside it.
        reference: Name of the contender that it is compared with, if any.
    """

    name: str
    model: OpenModel
    provider: str
    image_size: tuple[int, int]
    raw_pixels: bool
    load_seconds: float | None
    bytes: int
    reference: str | None


@dataclass(frozen=True)
class Measurement:
    """The results of one contender.

    Attributes:
        contender: The model that was measured.
        timings: One for each batch size.
        ratios: Also one for each batch size; empty if it has no reference.
        durations: The seconds of each round, for each batch size; rounds of one size belong together.
    """

    contender: Contender
    timings: tuple[Timing, ...]
    ratios: tuple[Ratio, ...]
    durations: tuple[Durations, ...]

    def to_json(self) -> dict[str, Any]:
        """Give all of it in JSON's types: ratios first, times in seconds."""
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
    loading: bool = True,
) -> list[Measurement]:
    """Measure artifacts in turns with the models that they are compared with.

    Only the model is timed, on random images in the form that it takes: no decoding, and no normalization unless it is
    part of the model.

    Args:
        predictors: The artifacts.
        against: Another artifact, the plain backbone in a precision, or nothing.
        batches: Batch sizes.
        seconds: Measuring time for each model and batch size.
        provider: Runs the plain backbone; as in `open_session`.
        threads: For every model on the CPU; as in `open_session`.
        listener: Shows the progress.
        loading: Whether to measure, too, how long it takes to open them.

    Returns:
        The artifacts in the order given, then the models that they are compared with.

    Raises:
        NotHereError: If the plain backbone does not run here in that precision.
    """
    with ExitStack() as stack:
        references: dict[object, Contender] = {}
        contenders = []
        loads = _LOADS if loading else 0
        names = _names([*predictors, against] if isinstance(against, Predictor) else predictors)
        for predictor, name in zip(predictors, names, strict=False):
            reference: str | None = None
            if isinstance(against, Predictor):
                references.setdefault(0, _from_predictor(against, names[-1], threads, None, loads))
                reference = names[-1]
            elif against is not None:
                kind = plain_backbone(predictor.manifest, against)
                if kind not in references:
                    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noah-")))
                    references[kind] = _from_backbone(kind, folder, len(references), provider, threads, listener, loads)
                reference = references[kind].name
            contenders.append(_from_predictor(predictor, name, threads, reference, loads))
        return _measure([*contenders, *references.values()], batches, seconds, listener)


def _measure(
    contenders: Sequence[Contender], batches: Sequence[int], seconds: float, listener: Listener
) -> list[Measurement]:
    timings: list[list[Timing]] = [[] for _ in contenders]
    ratios: list[list[Ratio]] = [[] for _ in contenders]
    rounds: list[list[Durations]] = [[] for _ in contenders]
    place = {contender.name: index for index, contender in enumerate(contenders)}
    with listener.bar("timing in turns", len(batches), "batch sizes") as bar:
        for number, batch in enumerate(batches):
            runs = [partial(contender.model.run, _images(contender, batch)) for contender in contenders]

            def progress(share: float, done: int = number) -> None:
                bar.update(done + share)

            durations = time_in_turns(runs, seconds * len(contenders), progress)
            for index, contender in enumerate(contenders):
                rounds[index].append(durations[index])
                timings[index].append(summarize(durations[index], batch))
                if contender.reference is not None:
                    ratios[index].append(speedup(durations[index], durations[place[contender.reference]]))
    return [
        Measurement(contender, tuple(timings[index]), tuple(ratios[index]), tuple(rounds[index]))
        for index, contender in enumerate(contenders)
    ]


def _images(contender: Contender, batch: int) -> NDArray[Any]:
    """Make random images, the same for all contenders of one image size."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, *contender.image_size, 3), dtype=np.uint8)
    if contender.raw_pixels:
        return pixels
    return np.ascontiguousarray(((pixels.astype(np.float32) - 127.5) / 64).transpose(0, 3, 1, 2))


def _from_predictor(
    predictor: Predictor, name: str, threads: int | None, reference: str | None, loads: int
) -> Contender:
    return Contender(
        name=name,
        model=predictor.model,
        provider=predictor.provider,
        image_size=PHOTOGRAPH
        if predictor.takes_images
        else (predictor.preprocessing.height, predictor.preprocessing.width),
        raw_pixels=predictor.manifest.input.values != "normalized",
        load_seconds=_load_seconds(lambda: open_again(predictor, threads), loads),
        bytes=_bytes(predictor.file),
        reference=reference,
    )


def _from_backbone(
    kind: PlainBackbone,
    folder: Path,
    number: int,
    provider: str | None,
    threads: int | None,
    listener: Listener,
    loads: int,
) -> Contender:
    file = folder / "backbone.onnx"
    listener.say(f"writing   the plain {kind.architecture}, {kind.precision}, as the artifact was written")
    write_plain_backbone(kind, file)
    try:
        opened = open_onnx(file, kind.precision, Opening(provider, threads))
    except NotHereError as error:  # it names the file, which is gone before anyone reads that
        raise NotHereError(
            f"The plain backbone in {kind.precision} does not run here. onnxruntime has no such convolution on a CPU.",
            "Compare with --against backbone or backbone:fp16, or add --provider openvino.",
        ) from error
    return Contender(
        name="plain backbone" if number == 0 else f"plain backbone {number + 1}",
        model=opened,
        provider=opened.provider,
        image_size=kind.image_size,
        raw_pixels=kind.raw_pixels,
        load_seconds=_load_seconds(lambda: open_onnx(file, kind.precision, Opening(opened.provider, threads)), loads),
        bytes=_bytes(file),
        reference=None,
    )


def _load_seconds(load: Callable[[], object], loads: int) -> float | None:
    seconds = []
    for _ in range(loads):
        started = time.perf_counter()
        load()
        seconds.append(time.perf_counter() - started)
    return min(seconds, default=None)


def _bytes(file: Path) -> int:
    model = model_files().get(file.name)
    beside = file.with_name(model.weights if model and model.weights else f"{file.name}.data")
    return file.stat().st_size + (beside.stat().st_size if beside.is_file() else 0)


def _names(predictors: Sequence[Predictor]) -> list[str]:
    """Name each artifact; those that share a name get their run's name too, or a number if that does not help."""
    names = [predictor.name for predictor in predictors]
    if len(set(names)) < len(names):
        names = [f"{predictor.manifest.run.name}/{predictor.name}" for predictor in predictors]
    return [name if names.count(name) == 1 else f"{name} ({index + 1})" for index, name in enumerate(names)]
