"""What to export: the format and every choice about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.artifact.records import Precision, Purpose, Values
from export.convert.int8_options import DEFAULT_INT8, Int8Options
from export.runtime.profile import ONNX_PROFILE, Profile
from export.runtime.tensorrt_package import Builder

Input = Literal["float", "uint8", "image"]
"""What a network takes: see `Request.input`."""


@dataclass(frozen=True)
class FastestRequest:
    """What `--format auto` is to find: the format and precision that are fastest here.

    Attributes:
        purpose: What for: the latency of single images, or the throughput of batches.
        batch: Number of images in the batches that are timed.
        lose_at_most: Percentage points of accuracy that may be lost against the network in float32.
        seconds: Time to measure each candidate for.
    """

    purpose: Purpose
    batch: int
    lose_at_most: float
    seconds: float = 5.0


@dataclass(frozen=True)
class Request:
    """What to export.

    Attributes:
        format: Name of the format.
        precision: Of products and most else; norms and softmax stay in float32, and inputs and outputs are never lower.
        int8: How to quantize, if the precision is int8 or int8-dynamic.
        input: Take normalized float32 (B, 3, H, W), raw uint8 pixels (B, H, W, 3), or decoded images of any size, uint8
            (B, height, width, 3).
        values: Whether the outputs are logits or probabilities.
        opset: ONNX operator set; None takes the precision's default, or the first that has all layers of the network.
        profile: Batch sizes of the parity check, and of an engine.
        builder: Builds the engine of formats that have one; None builds none.
        input_size: Height and width of the images in pixels; None takes the size of the search.
        name: Folder name under export/; None makes one.
        precision_is_chosen: Whether nobody asked for the precision.
        fastest: With it, format and precision are those that are fastest here; the rest is asked of all candidates.
        within: Folder to write it into as a candidate that may be thrown away, unsealed and without a line in the run's
            log; None writes it into the run.
    """

    format: str = "onnx"
    precision: Precision = "fp32"
    int8: Int8Options = DEFAULT_INT8
    input: Input = "float"
    values: Values = "logits"
    opset: int | None = None
    profile: Profile = ONNX_PROFILE
    builder: Builder | None = None
    input_size: int | None = None
    name: str | None = None
    precision_is_chosen: bool = False
    fastest: FastestRequest | None = None
    within: Path | None = None

    @property
    def raw_pixels(self) -> bool:
        """Whether the network itself takes raw pixels, behind any resizing."""
        return self.input != "float"

    @property
    def folder_name(self) -> str:
        """The folder's name, like onnx-fp32, trt-fp16-uint8, onnx-bf16-probabilities or onnx-fp32-112px."""
        parts = [self.format, self.precision]
        if self.input != "float":
            parts.append(self.input)
        if self.values == "probabilities":
            parts.append("probabilities")
        if self.input_size is not None:
            parts.append(f"{self.input_size}px")
        return self.name or "-".join(parts)
