"""The parts of a manifest: small immutable records that pydantic checks. Reading them needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from noah.errors import SettingsError
from noah.space.subnet import Subnet

FloatPrecision = Literal["fp32", "fp16", "bf16"]
Int8Precision = Literal["int8", "int8-dynamic"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-dynamic"]
"""int8 has 8-bit weights and activations with calibrated scales; int8-dynamic finds the scales in each batch."""
Values = Literal["logits", "probabilities"]
"""What a network gives."""
Int8Calibration = Literal["minmax", "entropy", "percentile"]
"""How the range of an activation is chosen from the values seen in calibration."""
Purpose = Literal["latency", "throughput"]
"""What a model is wanted to be fast for: single images, one after the other, or many at a time."""
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Difference = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Shape = Annotated[tuple[Size | Name, ...], Field(min_length=1)]
"""Whole numbers are fixed sizes, and names are sizes that the caller chooses, as in ("batch", 3, 224, 224)."""


class Record(BaseModel):
    """An immutable record that refuses unknown keys, NaN and infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SubnetWidths(RootModel[dict[str, tuple[Count, ...]]]):
    """The widths of the subnet that was merged, by kind of module, one per block."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _is_a_subnet(self) -> Self:
        try:
            Subnet.from_json(self.root)
        except SettingsError as error:
            raise ValueError(error.problem) from error
        return self


class BackboneRecord(Record):
    """The frozen network that the subnet was searched on; `image_size` is (height, width) in pixels."""

    name: Name
    arch: Name
    image_size: tuple[Size, Size]


class ModelInput(Record):
    """The only input: normalized float32 NCHW, or uint8 NHWC, which is raw pixels or images of any size."""

    name: Name
    shape: Shape
    type: Literal["float32", "uint8"]
    layout: Literal["NCHW", "NHWC"]
    values: Literal["normalized", "raw", "image"]

    @model_validator(mode="after")
    def _is_of_a_known_kind(self) -> Self:
        kind = (self.type, self.layout, self.values)
        if kind not in {("float32", "NCHW", "normalized"), ("uint8", "NHWC", "raw"), ("uint8", "NHWC", "image")}:
            raise ValueError(f"{' '.join(kind)} is neither float32 NCHW normalized nor uint8 NHWC raw or image")
        if len(self.shape) != 4:
            raise ValueError(f"shape has {len(self.shape)} sizes, but {self.layout} needs 4")
        return self

    @property
    def image_size(self) -> tuple[int | str, int | str]:
        """(height, width) in pixels."""
        height, width = self.shape[2:] if self.layout == "NCHW" else self.shape[1:3]
        return height, width


class ModelOutput(Record):
    """The only output, (batch, classes)."""

    name: Name
    shape: Shape
    type: Literal["float32", "float16"]
    values: Literal["logits", "probabilities"]


class ParityBatch(Record):
    """How far the artifact's outputs were from the reference's at one batch size.

    Attributes:
        batch: Number of images in the batch.
        max_difference: Largest difference of the outputs, relative to the largest logit for logits and absolute for
            probabilities.
        mean_difference: Mean difference, in the same unit.
        max_absolute: Largest absolute difference of the outputs.
        top1_agreement: Share of the images with the same top-1 class, 0 to 1.
    """

    batch: Size
    max_difference: Difference
    mean_difference: Difference
    max_absolute: Difference
    top1_agreement: Share


class Tolerance(Record):
    """What was allowed: two differences in the unit of `ParityBatch`, and a share of images with another top-1 class.

    If that share is not zero, one image may always differ, however few there are.
    """

    max_difference: Difference
    mean_difference: Difference
    other_first_class: Share


class Parity(Record):
    """One comparison with the model that the artifact was made from.

    Attributes:
        method: `run` for the artifact itself; `simulated` for its graph in float32, with every weight and every result
            rounded to its precision, because no device here computes in it.
        runs_on: The provider or device that ran it.
        reference: The model that it was compared with, in words.
        images: The images, in words.
        values: Whether the outputs are logits or probabilities.
        tolerance: The largest differences that pass.
        batches: The differences found at each batch size.
    """

    method: Literal["run", "simulated"]
    runs_on: Name
    reference: Name
    images: Name
    values: Literal["logits", "probabilities"]
    tolerance: Tolerance
    batches: Annotated[tuple[ParityBatch, ...], Field(min_length=1)]


NOT_VERIFIED = "not run here"
"""How `EngineRecord.verified` begins if the engine was built but not run."""


class EngineTensor(Record):
    """An input or output of the typed network; -1 is the size that the profile leaves free."""

    name: Name
    type: Name
    shape: tuple[int, ...]


class EngineProfile(Record):
    """Smallest, usual and largest batch, as read back from the builder's profile."""

    minimum: Size
    optimum: Size
    maximum: Size


class EngineRecord(Record):
    """Describes a TensorRT engine, as read from the typed network and the builder's configuration before building.

    Attributes:
        package: `tensorrt` or `tensorrt-rtx`; only the same package runs the engine.
        version: Version of the package; the engine runs on no other.
        reason: Why that package was chosen.
        targets: Compute capabilities that the engine runs on, as sm89.
        profile: Smallest, usual and largest batch.
        inputs: Inputs of the network.
        outputs: Outputs of the network.
        layers: How many products, norms, softmax and quantization layers return each type, by kind of layer.
        timing_cache: Whether the builder's timings were kept, and in which file.
        build_seconds: Duration of the build.
        warnings: The builder's warnings.
        verified: Whether and where the engine was run.
    """

    package: Literal["tensorrt", "tensorrt-rtx"]
    version: Name
    reason: Name
    targets: Annotated[tuple[Name, ...], Field(min_length=1)]
    profile: EngineProfile
    inputs: tuple[EngineTensor, ...]
    outputs: tuple[EngineTensor, ...]
    layers: dict[str, dict[str, Count]]
    timing_cache: Name
    build_seconds: Difference
    warnings: tuple[str, ...]
    verified: Name


class ExecutionRecord(Record):
    """How the library that runs the artifact compiled it on the machine that exported it, read back from that library.

    Attributes:
        package: The library.
        version: Its version; others read the files, too.
        device: What it ran on.
        hint: The precision that the compiled network was told to compute in.
        layers: How many layers compute in each type, by kind of layer.
        correct: For 8 bits, how many of `QuantizationRecord.images` it gets right there.
    """

    package: Name
    version: Name
    device: Name
    hint: Name
    layers: dict[str, dict[str, Count]]
    correct: Count | None = None


class TriedRecord(Record):
    """One way to make the 8-bit file, and what it cost in accuracy.

    Attributes:
        how: What was done, in words.
        correct: How many of the images it got right.
        top1_agreement: Share of them with the same top-1 class as in float32, 0 to 1.
        divergence: Mean Kullback-Leibler divergence of its probabilities from those in float32, in nats.
    """

    how: Name
    correct: Count
    top1_agreement: Share
    divergence: Annotated[float, Field(ge=0)]


class QuantizationRecord(Record):
    """What was written in 8 bits, and what that costs in accuracy.

    Attributes:
        products: Number of products with 8-bit weights and activations.
        kept: Number of products that compute in float32, by reason.
        ranges: Where the ranges of the activations come from, in words.
        images: The images that accuracy was measured on, in words.
        total: Number of these images.
        correct: How many of them the artifact gets right.
        correct_in_float32: How many of them the same network in float32 gets right, before it was quantized.
        top1_agreement: Share of them with the same top-1 class in both, 0 to 1.
        weight_bits: 8, or 7 if it was written on a processor that multiplies 8 bits inexactly.
        smoothed: How many activations were smoothed, by where in a block they are; empty if none was.
        float_blocks: Blocks that compute in float32 because they lose too much, counted from 1; 0 stands for what is
            outside the blocks.
        tried: Every way that was measured, in order; empty in artifacts of earlier versions.
    """

    products: Size
    kept: dict[str, Count]
    ranges: Name
    images: Name
    total: Size
    correct: Count
    correct_in_float32: Count
    top1_agreement: Share
    weight_bits: Literal[7, 8] = 8
    smoothed: dict[str, Count] = Field(default_factory=dict)
    float_blocks: tuple[Count, ...] = ()
    tried: tuple[TriedRecord, ...] = ()


class ResizedRecord(Record):
    """What it costs in accuracy that the input has another size than in the search and the retraining.

    Attributes:
        searched_size: (height, width) in pixels of the search and the retraining.
        images: The images that accuracy was measured on, in words.
        total: Number of these images.
        correct: How many of them are right at the artifact's size.
        correct_at_searched_size: How many of them are right at the searched size.
    """

    searched_size: tuple[Size, Size]
    images: Name
    total: Size
    correct: Count
    correct_at_searched_size: Count


class CandidateRecord(Record):
    """What became of one format and precision when the fastest was chosen.

    Attributes:
        name: Name of the folder that it has as an artifact.
        format: Its format.
        precision: Its precision.
        correct: How many of `ChoiceRecord.total` images it gets right; None if it was not run on them.
        seconds: Median seconds for a batch; None if it was not timed.
        times_as_fast: As the plain backbone: lower quartile, median and upper quartile over the rounds.
        is_close: Whether it cannot be told from the fastest by these times.
        refused: Why it could not be chosen; None if it could.
    """

    name: Name
    format: Name
    precision: Precision
    correct: Count | None = None
    seconds: Difference | None = None
    times_as_fast: tuple[Difference, Difference, Difference] | None = None
    is_close: bool = False
    refused: Name | None = None

    @model_validator(mode="after")
    def _is_timed_or_refused(self) -> Self:
        timed = self.seconds is not None and self.times_as_fast is not None and self.correct is not None
        if timed == (self.refused is not None):
            raise ValueError(f"{self.name} has to be either timed, with correct and times_as_fast, or refused")
        return self


class ChoiceRecord(Record):
    """How an artifact was chosen as the fastest on a machine.

    Attributes:
        purpose: What it was to be fast for.
        batch: Number of images in each batch that was timed.
        lose_at_most: Percentage points of accuracy that a candidate was allowed to lose.
        images: The images that accuracy was measured on, in words.
        total: Number of these images.
        correct_in_float32: How many of them the network gets right before it is exported, in float32.
        processor: The processor that they were timed on.
        gpu: The GPU, if there is one.
        threads: Threads on the processor.
        rounds: How often each candidate was timed.
        backbone_seconds: Median seconds of the plain backbone in float32, by onnxruntime.
        fastest: Name of the candidate with the shortest times, which is the artifact itself or close to it.
        reason: Why the artifact was chosen.
        candidates: All, in the order in which they would be preferred if they were equally fast.
    """

    purpose: Purpose
    batch: Size
    lose_at_most: Difference
    images: Name
    total: Size
    correct_in_float32: Count
    processor: Name
    gpu: Name | None = None
    threads: Size
    rounds: Size
    backbone_seconds: Difference
    fastest: Name
    reason: Name
    candidates: Annotated[tuple[CandidateRecord, ...], Field(min_length=1)]

    @property
    def chosen(self) -> CandidateRecord:
        """The candidate that was taken: the first that is as fast as the fastest."""
        return next(one for one in self.candidates if one.is_close)

    def points_lost(self, candidate: CandidateRecord) -> float | None:
        """Percentage points of accuracy that a candidate loses; negative if it gains some, None if not measured."""
        if candidate.correct is None:
            return None
        return 100 * (self.correct_in_float32 - candidate.correct) / self.total


class TemperatureRecord(Record):
    """The temperature that makes probabilities mean what they say (`noah.evaluation.temperature`).

    Attributes:
        value: Probabilities are the softmax of the logits divided by it. An artifact that gives probabilities does so
            itself; of logits, `noah predict` makes probabilities in this way, and so should anyone else.
        fitted_on: The images that it was fitted on, in words.
    """

    value: Annotated[float, Field(gt=0)]
    fitted_on: Name


class RunRecord(Record):
    """Where the artifact comes from.

    Attributes:
        name: The run, as --run takes it.
        data: SHA-256 of the names and labels of its training and validation images.
        weights: SHA-256 of the checkpoint that was exported.
    """

    name: Name
    data: Sha256
    weights: Sha256


class FileRecord(Record):
    """The SHA-256 in hexadecimal and the size in bytes that a file of the artifact must have."""

    sha256: Sha256
    bytes: Count
