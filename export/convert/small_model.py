"""A model of three operators in any precision, for finding out what a machine can run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, load, numpy_helper, save, shape_inference

from export.artifact.records import Precision
from export.convert.onnx_products import choose_products
from export.convert.precision import DEFAULT_OPSETS, write_precision
from export.convert.quantize import write_int8, write_int8_dynamic


def write_small_model(folder: Path, precision: Precision) -> Path:
    """Write a model with one convolution and one matrix product the way artifacts are written, and give its path."""
    weights = {"kernel": np.ones((4, 3, 2, 2), np.float32), "matrix": np.ones((36, 32), np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "kernel"], ["patches"], name="patches"),
            helper.make_node("Flatten", ["patches"], ["flat"]),
            helper.make_node("MatMul", ["flat", "matrix"], ["logits"], name="product"),
        ],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 32])],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    opset = helper.make_opsetid("", DEFAULT_OPSETS[precision])
    path = folder / "model.onnx"
    save(shape_inference.infer_shapes(helper.make_model(graph, opset_imports=[opset], ir_version=10)), str(path))
    if precision == "int8" or precision == "int8-dynamic":
        written = folder / f"{precision}.onnx"
        products = choose_products(load(str(path)), gemm=True, exclude_last_block=False)
        if precision == "int8":
            batch = {"images": np.ones((2, 3, 4, 4), np.float32)}
            write_int8(path, written, products, [batch], calibration="minmax", symmetric=False)
        else:
            write_int8_dynamic(path, written, products)
        return written
    write_precision(path, precision)
    return path
