"""The features before a head are found in whatever precision a file was written, and are those of the torch network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export.convert.onnx_files import check_valid
from export.convert.onnx_products import Products
from export.convert.precision import write_precision
from export.convert.quantize import write_int8, write_int8_dynamic
from export.runtime.before_head import name_of_features, with_features
from export.runtime.onnx_session import open_session
from noah.errors import ArtifactError
from tests.export.small_vit import random_images, write_small_vit

IMAGES = random_images(6)


def every_product(path: Path, *, dynamic: bool) -> Products:
    """The head's too, which a person's file keeps in float32 if it is narrow."""
    graph = onnx.load(path).graph
    weights = {tensor.name for tensor in graph.initializer}
    kinds = ("MatMul",) if dynamic else ("MatMul", "Gemm")
    names = [node.name for node in graph.node if node.op_type in kinds and node.input[1] in weights]
    return Products(tuple(names), (0,) * len(names), {})


def as_it_is(path: Path) -> None:
    check_valid(path)


def in_int8(path: Path) -> None:
    products = every_product(path, dynamic=False)
    batches = [{"images": IMAGES}]
    write_int8(path, path, products, batches, calibration="minmax", symmetric=False)
    assert any(node.op_type == "DequantizeLinear" for node in onnx.load(path).graph.node[-8:])


def in_int8_dynamic(path: Path) -> None:
    write_int8_dynamic(path, path, every_product(path, dynamic=True))


@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize(
    ("change", "tolerance"),
    [
        (as_it_is, 1e-5),
        (lambda path: write_precision(path, "fp16"), 2e-2),
        (in_int8, 2e-1),
        (in_int8_dynamic, 2e-1),
    ],
    ids=["fp32", "fp16", "int8", "int8-dynamic"],
)
def test_they_are_what_the_torch_head_reads(
    tmp_path: Path, change: Callable[[Path], None], tolerance: float, probabilities: bool
) -> None:
    path = tmp_path / "model.onnx"
    model = write_small_vit(path, probabilities=probabilities)
    change(path)
    before = path.read_bytes()
    opened = open_session(path, provider="cpu", features=True)
    outputs, features = opened.run_with_features(IMAGES)
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(torch.from_numpy(IMAGES)), pre_logits=True).numpy()
    assert (features.dtype, features.shape) == (np.float32, expected.shape)
    assert np.abs(features - expected).max() < tolerance * np.abs(expected).max()
    np.testing.assert_array_equal(outputs, open_session(path, provider="cpu").run(IMAGES))
    np.testing.assert_array_equal(opened.run(IMAGES), outputs)
    assert [tensor.name for tensor in opened.outputs] == ["probabilities" if probabilities else "logits"]
    assert path.read_bytes() == before


def test_weights_in_a_file_of_their_own_are_found(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_small_vit(path)
    expected = open_session(path, provider="cpu", features=True).run_with_features(IMAGES)[1]
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx.data")
    assert (tmp_path / "model.onnx.data").is_file()
    found = open_session(path, provider="cpu", features=True).run_with_features(IMAGES)[1]
    np.testing.assert_array_equal(found, expected)


def test_a_model_without_a_head_has_none(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3]) for name in ("images", "logits")]
    graph = helper.make_graph([helper.make_node("Relu", ["images"], ["logits"])], "headless", ends[:1], ends[1:])
    assert not name_of_features(graph)
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph), path)
    with pytest.raises(ArtifactError, match="does not end in a head"):
        with_features(path)


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="Cannot open"):
        open_session(tmp_path / "model.onnx", provider="cpu", features=True)


def test_a_session_without_features_says_so(tmp_path: Path) -> None:
    write_small_vit(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match="not opened with features"):
        open_session(tmp_path / "model.onnx", provider="cpu").run_with_features(IMAGES)
