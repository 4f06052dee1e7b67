"""Saves ONNX models of any size, and refuses files that are not valid."""

from __future__ import annotations

import math
from pathlib import Path

import onnx
from onnx import ModelProto

from noah.errors import ExportError

PROTOBUF_LIMIT = 2**31 - 2**24
"""A protobuf file ends at 2 GiB; larger weights go to a file beside it."""


def save_onnx(model: ModelProto, path: Path) -> None:
    """Write a model whose weights are in memory, replacing the file and any weights beside it.

    Args:
        model: The model with its weights.
        path: The file; if it would exceed 2 GiB, the weights go to a file of this name with `.data` added.
    """
    beside = path.with_name(f"{path.name}.data")
    beside.unlink(missing_ok=True)  # onnx would append to it
    size = sum(
        math.prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in model.graph.initializer
    )
    if size > PROTOBUF_LIMIT:
        onnx.save(model, str(path), save_as_external_data=True, location=beside.name)
    else:
        onnx.save(model, str(path))


def check_valid(path: Path, hint: str = "") -> None:
    """Run onnx.checker on a file, including types and shapes.

    The plain check accepts operators in types that their opset does not have, such as a bf16 Conv before opset 22.

    Raises:
        ExportError: If it finds a fault; gives the first line of the report.
    """
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"onnx.checker refuses the file: {str(error).strip().splitlines()[0]}", hint) from error
