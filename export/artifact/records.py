"""The parts of a manifest: small unchangeable records that pydantic checks. Read without torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FloatPrecision = Literal["fp32", "fp16", "bf16"]
Int8Precision = Literal["int8", "int8-dynamic"]
Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-dynamic"]
"""int8: products read 8-bit weights and activations of calibrated scales; int8-dynamic: scales found batch by batch."""
Int8Calibration = Literal["minmax", "entropy", "percentile"]
"""How the range of an activation follows from what calibration saw of it."""
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Difference = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Shape = Annotated[tuple[Size | Name, ...], Field(min_length=1)]
"""Whole numbers are fixed sizes, names are sizes that the caller chooses, as in ("batch", 3, 224, 224)."""


class Record(BaseModel):
    """Unchangeable, and complete: an unknown key is an error, NaN and infinity are no measurements."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SubnetWidths(Record):
    """The widths of the subnet that was merged, one per block."""

    prompt: tuple[Count, ...]
    lora: tuple[Count, ...]
    adapter: tuple[Count, ...]


class BackboneRecord(Record):
    """The frozen network that the subnet was searched on; `image_size` is (height, width) in pixels."""

    name: Name
    arch: Name
    image_size: tuple[Size, Size]


class ModelInput(Record):
    """The one input: float32 NCHW of normalized values, or uint8 NHWC of raw pixels."""

    name: Name
    shape: Shape
    type: Literal["float32", "uint8"]
    layout: Literal["NCHW", "NHWC"]
    values: Literal["normalized", "raw"]

    @model_validator(mode="after")
    def _is_one_of_two_kinds(self) -> Self:
        kind = (self.type, self.layout, self.values)
        if kind not in {("float32", "NCHW", "normalized"), ("uint8", "NHWC", "raw")}:
            raise ValueError(f"{' '.join(kind)} is neither float32 NCHW normalized nor uint8 NHWC raw")
        if len(self.shape) != 4:
            raise ValueError(f"shape has {len(self.shape)} sizes and {self.layout} needs 4")
        return self

    @property
    def image_size(self) -> tuple[int | str, int | str]:
        """(height, width) in pixels."""
        height, width = self.shape[2:] if self.layout == "NCHW" else self.shape[1:3]
        return height, width


class ModelOutput(Record):
    """The one output, (batch, classes)."""

    name: Name
    shape: Shape
    type: Literal["float32", "float16"]
    values: Literal["logits", "probabilities"]


class ParityBatch(Record):
    """How far the artifact was from its reference on one batch size.

    Attributes:
        batch: Number of images in the batch.
        max_difference: Largest difference of the outputs: of logits relative to the largest one, of probabilities
            absolute.
        mean_difference: Mean difference, in the same unit.
        max_absolute: Largest absolute difference of the outputs.
        top1_agreement: Share of the images with the same first class, 0 to 1.
    """

    batch: Size
    max_difference: Difference
    mean_difference: Difference
    max_absolute: Difference
    top1_agreement: Share


class Tolerance(Record):
    """What was allowed: two differences in the unit of `ParityBatch`, and a share of images with another first class.

    Of few images one may have another first class wherever any share of them may.
    """

    max_difference: Difference
    mean_difference: Difference
    other_first_class: Share


class Parity(Record):
    """One comparison with the model that the artifact was made from.

    Attributes:
        method: `run`: the artifact itself; `simulated`: its graph in float32, with every weight and every result
            rounded to its precision, for what no device here computes so.
        runs_on: What ran it.
        reference: What it was compared with.
        images: Which images.
        values: What the outputs are.
        tolerance: What was allowed.
        batches: What was found.
    """

    method: Literal["run", "simulated"]
    runs_on: Name
    reference: Name
    images: Name
    values: Literal["logits", "probabilities"]
    tolerance: Tolerance
    batches: Annotated[tuple[ParityBatch, ...], Field(min_length=1)]


NOT_VERIFIED = "not run here"
"""How `EngineRecord.verified` begins where the engine was built and not run."""


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
    """What a TensorRT engine is; read from the typed network and the builder's configuration before building.

    Attributes:
        package: `tensorrt` or `tensorrt-rtx`; only the same package runs it.
        version: Of the package; an engine runs on no other.
        reason: Why it was that package.
        targets: Compute capabilities that the engine runs on, as in sm89.
        profile: Batch sizes.
        inputs: Of the network.
        outputs: Of the network.
        layers: Kind of layer -> type that it gives -> how many; products, norms, softmax and quantization.
        timing_cache: What became of the builder's measurements.
        build_seconds: Duration of the build.
        warnings: What the builder warned of.
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


class QuantizationRecord(Record):
    """What was written in 8 bits, and what that costs in accuracy.

    Attributes:
        products: Products that read 8-bit weights and activations.
        kept: Products that compute in float32: why -> how many.
        ranges: Where the ranges of the activations come from.
        images: What accuracy was measured on.
        total: Number of these images.
        correct: Of them, put right by the artifact.
        correct_in_float32: Put right by the same network in float32, before it was quantized.
        top1_agreement: Share of them with the same first class in both, 0 to 1.
    """

    products: Size
    kept: dict[str, Count]
    ranges: Name
    images: Name
    total: Size
    correct: Count
    correct_in_float32: Count
    top1_agreement: Share


class ResizedRecord(Record):
    """Another size of input than the subnet was searched and retrained at, and what that costs in accuracy.

    Attributes:
        searched_size: (height, width) in pixels that it was searched and retrained at.
        images: What accuracy was measured on.
        total: Number of these images.
        correct: Of them, put right at the artifact's size.
        correct_at_searched_size: Of them, put right at the searched size.
    """

    searched_size: tuple[Size, Size]
    images: Name
    total: Size
    correct: Count
    correct_at_searched_size: Count


class RunRecord(Record):
    """Where the artifact comes from.

    Attributes:
        name: The run, as `noah --run` takes it.
        data: SHA-256 of the names and labels of its training and validation images.
        weights: SHA-256 of the checkpoint that was exported.
    """

    name: Name
    data: Sha256
    weights: Sha256


class FileRecord(Record):
    """What a file of the artifact has to be: its SHA-256 in hexadecimal and its size in bytes."""

    sha256: Sha256
    bytes: Count
