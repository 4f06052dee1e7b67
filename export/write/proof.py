"""Checks a written artifact on validation images, in every way in which it can be run here."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from export.artifact.records import FloatPrecision, Parity, Precision, Values
from export.artifact.tolerances import TOLERANCES
from export.convert.precision import write_simulation
from export.runtime.onnx_session import CPU, open_session
from export.runtime.profile import Profile
from export.runtime.tensors import OpenModel
from export.write.parity import Outputs, Pixels, measure_parity, torch_outputs
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.space.subnet import Subnet

_REFERENCE = "the unmerged torch subnet, float32, CPU"
_REFERENCE_BATCH = 32
BEFORE_RESIZING = "as it takes pixels of one size, before resizing was put in front"
"""What `Parity.runs_on` says of the network of an artifact that takes images of any size."""


@dataclass(frozen=True)
class Evidence:
    """Images and reference outputs that an artifact is compared with.

    Attributes:
        pixels: Real images, uint8 (N, H, W, 3).
        reference: Outputs (N, classes) of the unmerged torch subnet for them.
        images: Describes these images, for the manifest.
        preprocessing: Normalizes them if the artifact does not.
        raw_pixels: Whether the artifact takes raw pixels; else normalized ones.
        precision: The artifact's; decides the tolerance.
        values: Whether the outputs are logits or probabilities.
        profile: The batch sizes to compare at.
        one_by_one: Whether the artifact takes single images alone, so that each is run for itself instead.
        threads: CPU threads of what is compared; None for a choice.
    """

    pixels: Pixels
    reference: Outputs
    images: str
    preprocessing: Preprocessing
    raw_pixels: bool
    precision: Precision
    values: Values
    profile: Profile
    one_by_one: bool = False
    threads: int | None = None

    def compare(
        self, model: OpenModel, listener: Listener, *, method: Literal["run", "simulated"], runs_on: str
    ) -> Parity:
        """Run a model at every batch size of the profile and print each result.

        Raises:
            ParityError: If a check fails; names the check.
        """
        tolerance = TOLERANCES[self.precision, self.values]

        def run(pixels: Pixels) -> Outputs:
            values = pixels if self.raw_pixels else self.preprocessing.normalize(pixels)
            parts = np.split(values, len(values)) if self.one_by_one else [values]
            return np.concatenate([model.run(part) for part in parts])

        parity = measure_parity(
            run,
            self.reference,
            self.pixels,
            images=self.images,
            reference_name=_REFERENCE,
            method=method,
            runs_on=runs_on,
            values=self.values,
            tolerance=tolerance,
            batches=(len(self.pixels),) if self.one_by_one else self.profile.sizes,
        )
        if self.one_by_one:  # all at once were the outputs alone
            parity = parity.model_copy(
                update={"batches": tuple(batch.model_copy(update={"batch": 1}) for batch in parity.batches)}
            )
        unit = " of the largest logit" if self.values == "logits" else ""
        for batch in parity.batches:
            listener.say(
                f"checking  batch {batch.batch:>3}: largest difference {batch.max_difference:.1e}{unit} (allowed "
                f"{tolerance.max_difference:.0e}), mean {batch.mean_difference:.1e} ({tolerance.mean_difference:.0e}), "
                f"top-1 agreement {batch.top1_agreement:.1%}"
            )
        return parity


def gather_evidence(
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    *,
    raw_pixels: bool,
    precision: Precision,
    values: Values,
    temperature: float = 1.0,
    profile: Profile,
    one_by_one: bool = False,
) -> Evidence:
    """Run the torch subnet on validation images spread over the split, so that even small batches mix classes."""
    validation = materials.dataset.validation
    count = min(profile.maximum, len(validation))
    preprocessing = materials.backbone.preprocessing
    chosen = np.linspace(0, len(validation) - 1, count).round().astype(int)
    pixels: Pixels = np.stack([preprocessing.pixels(validation.open(int(index))) for index in chosen])
    reference = np.concatenate(
        [
            torch_outputs(
                lambda images: model(images, subnet),
                preprocessing.normalize(pixels[start : start + _REFERENCE_BATCH]),
                probabilities=values == "probabilities",
                temperature=temperature,
            )
            for start in range(0, count, _REFERENCE_BATCH)
        ]
    )
    how = f", repeated up to a batch of {profile.maximum}" if count < profile.maximum else ""
    how = ", one at a time" if one_by_one else how
    return Evidence(
        pixels=pixels,
        reference=reference,
        images=f"{count} validation images of {materials.dataset.name}{how}",
        preprocessing=preprocessing,
        raw_pixels=raw_pixels,
        precision=precision,
        values=values,
        profile=profile,
        one_by_one=one_by_one,
        threads=materials.settings.hardware.threads,
    )


def prove_onnx(file: Path, evidence: Evidence, listener: Listener) -> tuple[Parity, ...]:
    """Compare an ONNX file with the evidence.

    A file in float32 or in 8 bits is simply run. In half precision, the graph is simulated with every weight and
    result rounded, as a GPU would round them and a CPU would not; the file itself is run too if onnxruntime's CPU
    provider has all of its operators.

    Raises:
        ParityError: If a check fails; names the check.
    """
    if evidence.precision != "fp16" and evidence.precision != "bf16":
        return (_run(file, evidence, listener),)
    simulated = _simulate(file, evidence, evidence.precision, listener)
    try:
        opened = open_session(file, provider=CPU, threads=evidence.threads)
    except ArtifactError as error:
        listener.say(f"          The file itself is not run: {_cause(error)}")
        return (simulated,)
    listener.say(f"checking  the file itself, on {opened.provider}")
    return (simulated, evidence.compare(opened, listener, method="run", runs_on=f"onnxruntime {opened.provider}"))


def prove_engine(engine: OpenModel, evidence: Evidence, listener: Listener) -> Parity:
    """Run an engine on this machine's GPU and compare it with the evidence.

    Raises:
        ArtifactError: If it does not run.
        ParityError: If a check fails; names the check.
    """
    listener.say(f"checking  the engine, by {engine.provider}")
    return evidence.compare(engine, listener, method="run", runs_on=engine.provider)


def _run(file: Path, evidence: Evidence, listener: Listener) -> Parity:
    opened = open_session(file, provider=CPU, threads=evidence.threads)
    return evidence.compare(opened, listener, method="run", runs_on=f"onnxruntime {opened.provider}")


def _simulate(file: Path, evidence: Evidence, precision: FloatPrecision, listener: Listener) -> Parity:
    how = f"the same graph in float32, every weight and result rounded to {precision}"
    listener.say(f"checking  {how}")
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        simulation = Path(folder) / "simulated.onnx"
        write_simulation(file, simulation, precision)
        opened = open_session(simulation, provider=CPU, threads=evidence.threads)
        return evidence.compare(opened, listener, method="simulated", runs_on=f"onnxruntime {opened.provider}: {how}")


def _cause(error: ArtifactError) -> str:
    """The error's message without the path, which is that of a temporary file."""
    return error.problem.partition(": ")[2] or error.problem
