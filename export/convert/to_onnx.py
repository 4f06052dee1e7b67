"""Writes a merged network as an ONNX file, and checks that the file is what it should be."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from timm.layers import RmsNorm
from torch import Tensor, nn

from export.convert import onnx_files
from export.convert.onnx_files import check_valid
from export.runtime.tensors import BATCH_AXIS, INPUT_NAME
from noah.errors import ExportError
from noah.model.kinds.module import output_of

DEFAULT_OPSET = 20
"""The first opset with both LayerNormalization (17) and Gelu (20) as operators of their own."""
OLDEST_OPSET = 18
_RMS_NORM_OPSET = 23
"""The first opset with RMSNormalization as an operator of its own."""


_PLACES = ("pkg.torch.onnx.stack_trace",)
"""The exporter's notes on a node that contain paths."""


class Exported(nn.Module):
    """A network with the file's choice of input and output: raw pixels or normalized, logits or probabilities.

    Raw pixels become float before anything else happens to them: TensorRT supports uint8 only as the type of an input.
    """

    def __init__(self, model: nn.Module, *, raw_pixels: bool, probabilities: bool, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.raw_pixels = raw_pixels
        self.probabilities = probabilities
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits or probabilities (B, classes)."""
        outputs = output_of(self.model, images.float() if self.raw_pixels else images)
        if not self.probabilities:
            return outputs
        return (outputs if self.temperature == 1 else outputs / self.temperature).softmax(dim=1)


def least_opset(network: nn.Module) -> int:
    """The first opset that has each layer of a network as an operator of its own."""
    has_rms_norm = any(isinstance(module, nn.RMSNorm | RmsNorm) for module in network.modules())
    return _RMS_NORM_OPSET if has_rms_norm else OLDEST_OPSET


def write_onnx(
    model: nn.Module,
    path: Path,
    *,
    height: int,
    width: int,
    raw_pixels: bool,
    probabilities: bool = False,
    temperature: float = 1.0,
    opset: int = DEFAULT_OPSET,
) -> None:
    """Write a network in float32 with a dynamic batch axis.

    Args:
        model: In evaluation mode; takes normalized float32 (B, 3, H, W), or raw uint8 (B, H, W, 3).
        path: The file to write; if it would exceed 2 GiB, the weights go to a file of this name with `.data` added.
        height: H, in pixels.
        width: W, in pixels.
        raw_pixels: Whether the model takes raw uint8 pixels.
        probabilities: End in softmax and call the output "probabilities" instead of "logits".
        temperature: What logits are divided by before they become probabilities; logits are given as they are.
        opset: ONNX operator set, 18 or more.

    Raises:
        ExportError: If the exporter fails or the file does not pass its checks.
    """
    if opset < OLDEST_OPSET:
        raise ExportError(f"Opset {opset} is too old.", f"Use --opset {DEFAULT_OPSET}, or at least {OLDEST_OPSET}.")
    device = next(model.parameters()).device
    # Two images: the exporter would take a batch of one for a fixed size.
    example = (
        torch.zeros(2, height, width, 3, dtype=torch.uint8, device=device)
        if raw_pixels
        else torch.zeros(2, 3, height, width, device=device)
    )
    size = sum(tensor.numel() * tensor.element_size() for tensor in [*model.parameters(), *model.buffers()])
    try:
        with _quiet():
            program = torch.onnx.export(
                Exported(model, raw_pixels=raw_pixels, probabilities=probabilities, temperature=temperature).eval(),
                (example,),
                dynamo=True,
                opset_version=opset,
                input_names=[INPUT_NAME],
                output_names=["probabilities" if probabilities else "logits"],
                dynamic_shapes=({0: torch.export.Dim(BATCH_AXIS)},),
                verbose=False,
            )
            assert program is not None
            program.save(path, external_data=size > onnx_files.PROTOBUF_LIMIT)
    except Exception as error:  # the exporter raises many kinds of errors
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"The ONNX exporter failed: {cause}") from error
    _tidy(path)
    check_onnx(path, opset=opset)


def check_onnx(path: Path, *, opset: int) -> None:
    """Check that a file is valid and has the right opset, a free batch axis, and LayerNormalization as one operator.

    Raises:
        ExportError: If a check fails; names the check.
    """
    check_valid(path, f"Use another --opset, such as {DEFAULT_OPSET}.")
    model = onnx.load(str(path), load_external_data=False)
    found = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if found != opset:
        raise ExportError(f"The file has opset {found}, not {opset}.")
    for value in (*model.graph.input, *model.graph.output):
        if value.type.tensor_type.shape.dim[0].dim_param != BATCH_AXIS:
            raise ExportError(f"The batch axis of {value.name} is fixed.")
    operators = Counter(node.op_type for node in model.graph.node)
    if not operators["LayerNormalization"] and not operators["RMSNormalization"] and operators["ReduceMean"]:
        raise ExportError(
            "The norms were taken apart instead of becoming LayerNormalization.",
            f"A backbone with RMS norm needs --opset {_RMS_NORM_OPSET} or more."
            if opset < _RMS_NORM_OPSET
            else f"torch {torch.__version__} may be too old for this backbone; torch 2.11 keeps RMS norms whole.",
        )


def _tidy(path: Path) -> None:
    """Remove what the exporter notes beside the network.

    Paths of this machine should not leave it. The shapes of weights stand with the weights themselves; said again, they
    would be wrong once a tool transposes one, as older quantization does.
    """
    model = onnx.load(str(path), load_external_data=False)
    weights = {weight.name for weight in model.graph.initializer}
    stated = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(stated)
    for node in model.graph.node:
        needed = [note for note in node.metadata_props if note.key not in _PLACES]
        del node.metadata_props[:]
        node.metadata_props.extend(needed)
    onnx.save(model, str(path))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress lines and its warnings to its own developers, which do not help users."""
    levels = {name: logging.getLogger(name).level for name in ("torch.onnx", "onnxscript")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
