"""Writes OpenVINO's own files (IR) from an ONNX file: the network as .xml, and its weights as .bin beside it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact.metadata import read_metadata
from export.artifact.records import Precision
from export.runtime.openvino_model import PRODUCTS, load_openvino, one_line, openvino_core, read_network, write_notes
from noah.errors import ExportError

_REPORT = "Nothing was written. Please report this with the backbone's name."


def write_openvino(onnx_file: Path, file: Path, precision: Precision) -> dict[str, dict[str, int]]:
    """Convert an ONNX file, whose notes go along.

    Args:
        onnx_file: In float32, or quantized for int8.
        file: The file to write, which ends in .xml; that of the weights is called after it.
        precision: With fp16 and bf16, weights are stored in float16, which holds all bits of bfloat16 that matter: the
            file has no bfloat16 weights of its own.

    Returns:
        How many weights of each type were found in the file, and the types of its input and output.

    Raises:
        ExportError: If OpenVINO cannot read the file.
    """
    openvino, core = load_openvino(), openvino_core()
    try:
        network = read_network(core, onnx_file)
        write_notes(network, read_metadata(onnx_file))
        openvino.save_model(network, file, compress_to_fp16=precision in ("fp16", "bf16"))
        del network  # which keeps the ONNX file's weights open
        return _stored_types(core.read_model(file))
    except RuntimeError as error:
        raise ExportError(
            f"OpenVINO cannot convert the model: {one_line(error)}.",
            "The ONNX artifact runs in onnxruntime: noah export --format onnx",
        ) from error


def check_computed(found: dict[str, dict[str, int]], precision: Precision, quantized: int) -> str:
    """Compare the types that a compiled network computes in with the precision that was asked for.

    Args:
        found: The result of `OpenVinoModel.computed_types`.
        precision: What was asked for.
        quantized: For int8, the number of products that the ONNX file has in 8 bits.

    Returns:
        What it computes in, in words.

    Raises:
        ExportError: If products are computed less precisely than asked for, or none in 8 bits for int8.
    """
    counts: Counter[str] = Counter()
    for kind in PRODUCTS:
        counts.update(found.get(kind, {}))
    allowed = {"float32"} | {"bf16": {"bfloat16"}, "fp16": {"float16"}, "int8": {"int8"}}.get(precision, set())
    wrong = sorted(counts.keys() - allowed)
    if wrong or not counts:
        raise ExportError(
            f"The compiled model fails the type check: {counts[wrong[0]]} products are in {wrong[0]}, but {precision} "
            f"needs {' or '.join(sorted(allowed))}."
            if wrong
            else "The compiled model fails the type check: it has no products.",
            _REPORT,
        )
    if precision == "int8" and not counts["int8"]:
        raise ExportError(
            f"The compiled model fails the type check: of {quantized} products in 8 bits, OpenVINO runs none so.",
            _REPORT,
        )
    return "products: " + ", ".join(f"{count} in {kind}" for kind, count in sorted(counts.items()))


def _stored_types(network: Any) -> dict[str, dict[str, int]]:
    """Count the matrices and larger weights by type."""
    weights: Counter[str] = Counter()
    for layer in network.get_ops():
        if layer.get_type_name() == "Constant" and len(layer.output(0).shape) >= 2:
            name = np.dtype(layer.output(0).element_type.to_dtype()).name
            if name.startswith(("float", "int8", "uint8")):
                weights[name] += 1
    ends = {
        place: {np.dtype(port.element_type.to_dtype()).name: 1}
        for place, (port,) in (("input", network.inputs), ("output", network.outputs))
    }
    return {**ends, "weights": dict(sorted(weights.items()))}
