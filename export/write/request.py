"""What to export: the format and every choice about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from export.artifact.records import Precision
from export.convert.int8_options import DEFAULT_INT8, Int8Options
from export.runtime.profile import ONNX_PROFILE, Profile
from export.runtime.tensorrt_package import Builder


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
        opset: ONNX operator set; None takes the precision's default.
        profile: Batch sizes of the parity check, and of an engine.
        builder: Builds the engine of formats that have one; None builds none.
        input_size: Height and width of the images in pixels; None takes the size of the search.
        name: Folder name under export/; None makes one.
        precision_is_chosen: Whether nobody asked for the precision.
    """

    format: str = "onnx"
    precision: Precision = "fp32"
    int8: Int8Options = DEFAULT_INT8
    input: Literal["float", "uint8", "image"] = "float"
    values: Literal["logits", "probabilities"] = "logits"
    opset: int | None = None
    profile: Profile = ONNX_PROFILE
    builder: Builder | None = None
    input_size: int | None = None
    name: str | None = None
    precision_is_chosen: bool = False

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
