"""What could be the fastest on this machine: each format in each precision that noah runs here, and the gate for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.artifact.metadata import label_difference
from export.artifact.origin import temperature_of
from export.artifact.records import CandidateRecord
from export.checks.artifact_accuracy import artifact_logits
from export.convert.accuracy_loss import raw_batches
from export.formats.load import load_predictor
from export.formats.registry import FORMATS
from export.predict.predictor import Predictor
from export.runtime.profile import Profile
from export.write.parity import torch_outputs
from export.write.proof import Evidence, gather_evidence
from export.write.request import Request
from noah.data.pixels.pixels import Pixels
from noah.errors import ArtifactError, ExportError, MissingPackageError, ParityError
from noah.evaluation.score import predicted_labels
from noah.prepare.context import Materials
from noah.prepare.held_out import gate_images
from noah.progress import Listener
from noah.runs.folder import Run
from noah.stages.retrain_stage import load_retrained

FAULTS = (ArtifactError, ExportError, MissingPackageError)
"""What speaks against one candidate; any other error is one of the run, and stops the choice."""
_IMAGES_COMPARED = 32
"""At least so many images are compared with the network in torch."""


def candidate_requests(wanted: Request, batch: int) -> tuple[list[Request], list[CandidateRecord]]:
    """List what can be written and run here, and what cannot, with the reason.

    Args:
        wanted: What is asked of every candidate.
        batch: The batch size that they are to be fast for, which engines are built for.

    Returns:
        Both in the order of preference among equally fast ones: by format as in the registry, then by precision as the
        format lists them, which begins with float32.
    """
    found, refused = [], []
    for format_ in FORMATS.values():
        for precision in format_.precisions if format_.models else ():
            profile = Profile(1, batch, max(batch, format_.profile.maximum))
            request = replace(wanted, format=format_.name, precision=precision, profile=profile)
            why = format_.why_not_run(precision) or format_.why_not(precision)
            if why:
                refused.append(refuse(request, why))
            else:
                found.append(replace(request, builder=format_.prepare(precision, None)))
    return found, refused


def refuse(request: Request, why: str, correct: int | None = None) -> CandidateRecord:
    """Record that a candidate cannot be chosen, and why; and how many images it gets right, if that was measured."""
    reason = why.strip().rstrip(".")
    return CandidateRecord(
        name=request.folder_name, format=request.format, precision=request.precision, correct=correct, refused=reason
    )


@dataclass(frozen=True)
class Gate:
    """What every candidate has to pass after it was written: its labels, the outputs of torch, and its accuracy.

    It asks the file that would be kept, as `noah predict` runs it.

    Attributes:
        materials: The run's dataset, and its backbone at the size of the candidates' images.
        pixels: The images that accuracy is measured on, and their labels.
        images: Describes them.
        correct_in_float32: How many of them the network in torch gets right, in float32.
        evidence: Images with the outputs of that network.
        lose_at_most: Percentage points of accuracy that may be lost.
        listener: Prints each step.
    """

    materials: Materials
    pixels: Pixels
    images: str
    correct_in_float32: int
    evidence: Evidence
    lose_at_most: float
    listener: Listener

    def open(self, folder: Path, request: Request) -> tuple[Predictor, int]:
        """Open a candidate, and count how many images it gets right.

        Raises:
            ArtifactError: If it is damaged or does not run.
            ParityError: If it calls classes by other names, or its outputs are not those of the network in torch.
        """
        predictor = load_predictor(folder, threads=self.materials.hardware.threads)
        if difference := label_difference(list(predictor.classes), self.materials.dataset.classes):
            raise ParityError(f"The exported model fails the label check: {difference}.")
        evidence = replace(self.evidence, precision=request.precision)
        evidence.compare(predictor.model, self.listener, method="run", runs_on=predictor.provider)
        batch = self.materials.evaluation_batch_size
        with self.listener.bar(f"measuring {request.folder_name}", len(self.pixels), "images") as bar:
            classes = predicted_labels(artifact_logits(predictor, self.pixels, batch, bar))
        correct, total = int((classes == self.pixels.labels).sum()), len(self.pixels)
        in_torch = self.correct_in_float32 / total
        self.listener.say(f"accuracy  {correct / total:.2%} of {self.images}, {in_torch:.2%} in torch")
        return predictor, correct

    def why_not_accurate(self, correct: int) -> str:
        """Say that too much accuracy is lost by a candidate that gets so many images right; empty if it is not."""
        lost, total = self.correct_in_float32 - correct, len(self.pixels)
        if 100 * lost <= self.lose_at_most * total:
            return ""
        return (
            f"It loses {100 * lost / total:.1f} points of accuracy ({correct:,} right instead of "
            f"{self.correct_in_float32:,}), but at most {self.lose_at_most:g} may be lost"
        )


def open_gate(
    run: Run, materials: Materials, listener: Listener, wanted: Request, *, batch: int, lose_at_most: float
) -> Gate:
    """Measure the network in torch, which the candidates are compared with.

    Args:
        run: A run whose subnet has been retrained.
        materials: Its dataset, and its backbone at the size of the candidates' images.
        listener: Prints each step.
        wanted: What is asked of every candidate.
        batch: The batch size that outputs are compared at, beside 1 and the largest.
        lose_at_most: Percentage points of accuracy that may be lost.

    Raises:
        CommandOrderError: If the subnet has not been retrained.
    """
    model, subnet = load_retrained(run, materials)
    model.cpu()
    fitted = temperature_of(run)
    evidence = gather_evidence(
        materials,
        model,
        subnet,
        raw_pixels=wanted.raw_pixels,
        precision="fp32",
        values=wanted.values,
        temperature=1.0 if fitted is None else fitted.value,
        profile=Profile(1, batch, max(batch, _IMAGES_COMPARED)),
    )
    split, images = gate_images(materials)
    pixels = materials.pixels(split, "gate", listener)

    def logits(values: NDArray[np.uint8]) -> NDArray[np.float32]:
        return torch_outputs(lambda normalized: model(normalized, subnet), pixels.preprocessing.normalize(values))

    correct = _count_correct(logits, pixels, materials.evaluation_batch_size, listener)
    return Gate(materials, pixels, images, correct, evidence, lose_at_most, listener)


def _count_correct(
    logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]], pixels: Pixels, batch_size: int, listener: Listener
) -> int:
    with listener.bar("measuring the network in torch", len(pixels), "images") as bar:
        classes = np.concatenate([logits(values).argmax(axis=1) for values in raw_batches(pixels, batch_size, bar)])
    return int((classes == pixels.labels).sum())
