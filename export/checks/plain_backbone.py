"""The plain backbone as an ONNX file, exported like an artifact so that the two speeds can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
from torch import Tensor, nn

from export.artifact.manifest import Manifest
from export.artifact.records import Precision
from export.convert.onnx_products import choose_products
from export.convert.precision import DEFAULT_OPSETS, write_precision
from export.convert.quantize import write_int8_dynamic
from export.convert.to_onnx import least_opset, write_onnx
from noah.backbone.supported import untrained_backbone
from noah.errors import UsageError
from noah.model.kinds.module import output_of


@dataclass(frozen=True)
class PlainBackbone:
    """A backbone with a head and nothing else; artifacts that agree in all attributes share one.

    Attributes:
        architecture: timm's name.
        image_size: Height and width in pixels.
        classes: Number of outputs of the head.
        raw_pixels: Whether it takes uint8 pixels (B, H, W, 3).
        probabilities: Whether it ends in softmax.
        precision: Number format of the file.
    """

    architecture: str
    image_size: tuple[int, int]
    classes: int
    raw_pixels: bool
    probabilities: bool
    precision: Precision


def plain_backbone(manifest: Manifest, precision: Precision) -> PlainBackbone:
    """Describe the backbone that an artifact was made from, with the artifact's kind of input and output."""
    return PlainBackbone(
        architecture=manifest.backbone.arch,
        image_size=manifest.backbone.image_size,
        classes=len(manifest.classes),
        raw_pixels=manifest.input.values != "normalized",
        probabilities=manifest.output.values == "probabilities",
        precision=precision,
    )


def write_plain_backbone(backbone: PlainBackbone, path: Path) -> None:
    """Write a backbone as an ONNX file with random weights; nothing is downloaded, since time depends on shapes only.

    Raises:
        BackboneError: If the installed timm cannot build it.
        UsageError: If the precision is int8: calibrating random weights would be meaningless.
    """
    precision = backbone.precision
    if precision == "int8":
        raise UsageError(
            "The plain backbone cannot be in int8: there is nothing to calibrate it on.",
            "Compare with --against backbone, backbone:fp16 or backbone:int8-dynamic, or with another artifact.",
        )
    height, width = backbone.image_size
    network = untrained_backbone(backbone.architecture, backbone.image_size, backbone.classes)
    target = path.with_suffix(".float32.onnx") if precision == "int8-dynamic" else path
    write_onnx(
        _FromPixels(network).eval() if backbone.raw_pixels else network,
        target,
        height=height,
        width=width,
        raw_pixels=backbone.raw_pixels,
        probabilities=backbone.probabilities,
        opset=max(DEFAULT_OPSETS[precision], least_opset(network)),
    )
    if precision == "int8-dynamic":
        graph = onnx.load(str(target), load_external_data=False)
        write_int8_dynamic(target, path, choose_products(graph, gemm=False, exclude_last_block=False))
    else:
        write_precision(path, precision)


class _FromPixels(nn.Module):
    """A network that takes raw pixels, as an artifact does whose first convolution includes the normalization."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Compute logits (B, classes) from pixels (B, H, W, 3)."""
        return output_of(self.network, pixels.permute(0, 3, 1, 2))
