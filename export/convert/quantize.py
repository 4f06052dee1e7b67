"""Writes a float32 ONNX file with 8-bit products, by onnxruntime's quantization.

`write_int8` quantizes weights channel by channel, and activations with fixed scales found by calibration; the file has
QuantizeLinear and DequantizeLinear around its products, which runtimes fuse into integer products. `write_int8_dynamic`
also quantizes weights channel by channel, but finds one scale for an activation in each batch while running. Sums,
norms, softmax and the first convolution stay in float32, as do products that `export.convert.onnx_products` leaves out.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import platform
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt
import onnx
import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from export.artifact.records import Int8Calibration
from export.convert import onnx_files
from export.convert.onnx_files import save_onnx
from export.convert.onnx_products import Products
from export.runtime.onnx_session import one_line
from noah.errors import ExportError, NoahError

_METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}
_OPERATORS = ["MatMul", "Gemm"]

SAFE_BITS: Literal[7] = 7
"""Bits of weights whose products with 8-bit activations never overflow 16 bits, which older processors add them in."""

Inputs = dict[str, npt.NDArray[Any]]
"""The inputs of a network by name, for one batch."""


def write_int8(
    source: Path,
    target: Path,
    products: Products,
    batches: Sequence[Inputs],
    *,
    calibration: Int8Calibration,
    symmetric: bool,
    weight_bits: int | None = None,
    ranges: Path | None = None,
) -> None:
    """Write the products of a float32 file with 8-bit weights and 8-bit activations of fixed scales.

    Args:
        source: The float32 file.
        target: The file to write.
        products: Which products to quantize.
        batches: The inputs to calibrate on.
        calibration: How to choose an activation's range from the values seen: "minmax" covers all of them,
            "percentile" leaves out the 0.001 % farthest from zero, "entropy" is onnxruntime's method.
        symmetric: Make activations signed with zero in the middle, as TensorRT needs them, instead of unsigned with a
            zero point of their own, which wastes no values on a side that an activation does not have.
        weight_bits: 8, or 7 for processors that add products in 16 bits; None takes `usable_weight_bits`.
        ranges: A file that keeps the ranges found. If it exists already, they are taken from it, which needs the same
            source and calibration and at most the products that it was made for; the batches are then not looked at.
            onnxruntime 1.22 keeps no ranges: there is no such file then, and each call looks at the batches.

    Raises:
        ExportError: If onnxruntime cannot quantize the file.
    """
    options = {
        # Results stay in float32: the network's precision depends mostly on its residual sums.
        "OpTypesToExcludeOutputQuantization": _OPERATORS,
        "MatMulConstBOnly": True,
        "QuantizeBias": False,  # TensorRT has no int32 biases
        "ActivationSymmetric": symmetric,
        "CalibStridedMinMax": 1,  # one batch at a time for every method: histograms need every value
    }
    name = "calibration_cache_path"
    kept = {name: ranges} if name in inspect.signature(quantize_static).parameters else {}
    with _prepared(source) as prepared, _told_by_noah():
        quantize_static(
            prepared,
            target,
            _Reader(batches),
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            reduce_range=(weight_bits or usable_weight_bits()) == SAFE_BITS,
            activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(products.names),
            calibrate_method=_METHODS[calibration],
            use_external_data_format=_is_large(prepared),
            extra_options=options,
            **kept,
        )
    _tidy(target)


def write_int8_dynamic(source: Path, target: Path, products: Products) -> None:
    """Write the products of a float32 file with 8-bit weights and activations that are quantized while running.

    Args:
        source: The float32 file.
        target: The file to write.
        products: Which products to quantize.

    Raises:
        ExportError: If onnxruntime cannot quantize the file.
    """
    with _prepared(source) as prepared, _told_by_noah():
        quantize_dynamic(
            prepared,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            reduce_range=usable_weight_bits() == SAFE_BITS,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=list(products.names),
            use_external_data_format=_is_large(prepared),
            extra_options={"MatMulConstBOnly": True},
        )
    _tidy(target)


def usable_weight_bits() -> Literal[7, 8]:
    """How many bits of weights this processor multiplies exactly: 8, or 7 on an x86 processor without VNNI.

    Without VNNI, onnxruntime adds pairs of 8-bit products in 16 bits, where they saturate. (onnxruntime's page on
    quantization, "When to use reduce-range".)
    """
    is_x86 = platform.machine().lower() in ("x86_64", "amd64", "x86")
    return SAFE_BITS if is_x86 and not torch.cpu._is_vnni_supported() else 8


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives batches to onnxruntime's calibration, which asks for them range by range."""

    def __init__(self, batches: Sequence[Inputs]) -> None:
        self._batches = batches
        self.set_range(0, len(batches))

    def __len__(self) -> int:
        return len(self._batches)

    def set_range(self, start_index: int, end_index: int) -> None:
        self._next, self._end = start_index, end_index

    def get_next(self) -> Inputs | None:
        if self._next >= self._end:
            return None
        self._next += 1
        return self._batches[self._next - 1]


@contextlib.contextmanager
def _prepared(source: Path) -> Iterator[Path]:
    """Yield a temporary copy with shapes inferred and constants folded, as onnxruntime's quantization wants it."""
    source, large = source.absolute(), _is_large(source)
    with tempfile.TemporaryDirectory(prefix="noah-", dir=source.parent) as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Without onnxruntime's symbolic shapes, which 1.22 fails to infer for some graphs; ONNX infers them all.
        with _told_by_noah():
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True, save_as_external_data=large)
        yield prepared


def _is_large(path: Path) -> bool:
    """Whether the weights are too many for one protobuf file."""
    files = path.parent.glob(f"{path.name}*")
    return sum(file.stat().st_size for file in files) > onnx_files.PROTOBUF_LIMIT


def _tidy(path: Path) -> None:
    """Remove the operator sets that no node uses; onnxruntime's preparation lists all that it knows."""
    model = onnx.load(str(path))
    used = {node.domain for node in model.graph.node} | {""}
    needed = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(needed)
    path.unlink()
    save_onnx(model, path)


@contextlib.contextmanager
def _told_by_noah() -> Iterator[None]:
    """Silence what the tools print and log, and turn their errors, which have no common base, into one of noah's.

    Raises:
        ExportError: If anything goes wrong inside.
    """
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except NoahError:  # an image cannot be read
        raise
    except Exception as error:
        raise ExportError(
            f"onnxruntime cannot quantize the model: {one_line(error)}.", "Use --precision fp32 or fp16."
        ) from error
    finally:
        root.setLevel(level)
