"""Puts resizing into the graph of an artifact, and checks on real images that it is the same as before."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from export.artifact.records import Parity, Tolerance
from export.convert.image_input import resizing_graph, take_images
from export.convert.precision import write_simulation
from export.runtime.onnx_session import CPU, open_session
from export.runtime.tensors import OpenModel
from export.write.onnx_artifact import Draft
from export.write.parity import Outputs, check_outputs, compare_outputs
from noah.errors import ParityError
from noah.progress import counted

_IMAGES = 64
_MOST_LEVELS = 1
"""How far a resized value may be from Pillow's, of 255."""
_TOLERANCE = Tolerance(max_difference=1e-1, mean_difference=1e-2, other_first_class=0.02)
"""What a difference of `_MOST_LEVELS` may do to the outputs."""


@dataclass(frozen=True)
class ImageEvidence:
    """Real images, and what the network gives for them where Pillow resizes.

    Attributes:
        images: Each uint8 (height, width, 3), at its own size.
        pixels: The same images by Pillow, uint8 (N, H, W, 3).
        outputs: What the graph without resizing gives for `pixels`, (N, classes).
    """

    images: Sequence[NDArray[np.uint8]]
    pixels: NDArray[np.uint8]
    outputs: Outputs


def resize_in_graph(draft: Draft) -> Parity:
    """Let the draft's ONNX file take images of any size, and compare it with the file that took pixels.

    A file in bf16, which runs on no CPU, is compared in its simulation in float32.

    Raises:
        ParityError: If pixels or outputs differ by more than is allowed.
    """
    threads = draft.materials.settings.hardware.threads
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        file, simulated = draft.file, draft.request.precision == "bf16"
        if simulated:
            file = Path(folder) / draft.file.name
            write_simulation(draft.file, file, "bf16")
            take_images(draft.file, draft.materials.backbone.preprocessing)
        evidence = gather_images(draft, open_session(file, provider=CPU, threads=threads))
        take_images(file, draft.materials.backbone.preprocessing)
        check_pixels(evidence, draft, lambda resizing: open_session(resizing, provider=CPU, threads=threads))
        of_images = open_session(file, provider=CPU, threads=threads)
        return prove_images(evidence, draft, of_images, runs_on=f"onnxruntime {CPU}", simulated=simulated)


def gather_images(draft: Draft, of_pixels: OpenModel) -> ImageEvidence:
    """Take validation images at their own sizes, and run the network on what Pillow makes of them."""
    validation, preprocessing = draft.materials.dataset.validation, draft.materials.backbone.preprocessing
    chosen = np.unique(np.linspace(0, len(validation) - 1, min(_IMAGES, len(validation))).round().astype(int))
    opened = [validation.open(index) for index in chosen.tolist()]
    pixels = np.stack([preprocessing.pixels(image) for image in opened])
    # One at a time, as the other will run: the scales of int8-dynamic are those of a batch.
    outputs = np.concatenate([of_pixels.run(one[None]) for one in pixels])
    return ImageEvidence([np.asarray(image) for image in opened], pixels, outputs)


def check_pixels(evidence: ImageEvidence, draft: Draft, runner: Callable[[Path], OpenModel]) -> None:
    """Compare the resizing alone with Pillow's.

    Args:
        evidence: The images.
        draft: Tells the preprocessing.
        runner: Opens the ONNX file that only resizes, as the artifact will be run.

    Raises:
        ParityError: If a value differs by more than `_MOST_LEVELS` of 255.
    """
    with tempfile.TemporaryDirectory(prefix="noah-", ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "resizing.onnx"
        onnx.save(resizing_graph(draft.materials.backbone.preprocessing, draft.opset), file)
        model = runner(file)
        differences = [
            np.abs(model.run(image[None])[0] - pixels)
            for image, pixels in zip(evidence.images, evidence.pixels, strict=True)
        ]
    largest = max(int(difference.max()) for difference in differences)
    changed = float(np.mean([(difference > 0).mean() for difference in differences]))
    if largest > _MOST_LEVELS:
        raise ParityError(
            f"The exported model does not resize as in training: a value differs by {largest} of 255, but only "
            f"{_MOST_LEVELS} is allowed.",
            "Nothing was written. Use --input uint8, and please report this.",
        )
    draft.listener.say(
        f"checking  resizing of {counted(len(differences), 'images')}: {changed:.2%} of the values differ from "
        f"Pillow's, by {largest} of 255 at most ({model.provider})"
    )


def prove_images(
    evidence: ImageEvidence, draft: Draft, of_images: OpenModel, *, runs_on: str, simulated: bool = False
) -> Parity:
    """Compare a model that takes images with the one that took pixels, one image at a time.

    Raises:
        ParityError: If the outputs differ by more than is allowed.
    """
    found = np.concatenate([of_images.run(image[None]) for image in evidence.images])
    batch = compare_outputs(found, evidence.outputs, draft.request.values)
    check_outputs(batch, len(found), _TOLERANCE, draft.request.values)
    draft.listener.say(
        f"checking  {counted(len(found), 'images')} at their own sizes: largest difference {batch.max_difference:.1e} "
        f"(allowed {_TOLERANCE.max_difference:.0e}), top-1 agreement {batch.top1_agreement:.1%}"
    )
    return Parity(
        method="simulated" if simulated else "run",
        runs_on=runs_on,
        reference="the same network on pixels that Pillow resized",
        images=f"{len(found)} validation images of {draft.materials.dataset.name} at their own sizes",
        values=draft.request.values,
        tolerance=_TOLERANCE,
        batches=(batch,),
    )
