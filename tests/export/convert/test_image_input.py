"""Pictures of any size in, the pixels that Pillow gives out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

from export.convert.image_input import resizing_graph, take_pictures, why_not
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ExportError

LEVELS = 2
"""How far a value may be from Pillow's, of 255."""


def preprocessing(height: int = 24, width: int = 24, **changes: object) -> Preprocessing:
    values = {"resize": "squash", "crop_fraction": 1.0, "interpolation": "bicubic", **changes}
    return Preprocessing(height=height, width=width, mean=(0.5,) * 3, std=(0.5,) * 3, **values)  # type: ignore[arg-type]  # as changed


def picture(height: int, width: int, seed: int) -> np.ndarray:
    """Noise over a slope: the hardest pixels there are, and some that any mistake of place changes."""
    rng = np.random.default_rng(seed)
    slope = np.add.outer(np.linspace(0, 150, height), np.linspace(0, 80, width))[..., None]
    return np.clip(slope + rng.normal(0, 40, (height, width, 3)), 0, 255).astype(np.uint8)


def run(graph: onnx.ModelProto, pictures: np.ndarray) -> np.ndarray:
    return onnxruntime.InferenceSession(graph.SerializeToString()).run(None, {"pictures": pictures})[0]


@settings(max_examples=40)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    target=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    square=st.booleans(),
    resize=st.sampled_from(["squash", "crop"]),
    crop=st.sampled_from([1.0, 0.95, 0.875, 0.7]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_graph_gives_the_pixels_of_pillow(
    height: int, width: int, target: tuple[int, int], square: bool, resize: str, crop: float, interpolation: str
) -> None:
    sides = (target[0], target[0]) if square else target
    how = preprocessing(*sides, resize=resize, crop_fraction=crop, interpolation=interpolation)
    pictures = np.stack([picture(height, width, seed) for seed in range(2)])
    found = run(resizing_graph(how, 20), pictures).astype(int)
    expected = np.stack([how.pixels(Image.fromarray(each)) for each in pictures]).astype(int)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= LEVELS


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (640, 480), (24, 24), (1, 700)])
def test_photographs_sizes_are_cropped_to_the_same_place(size: tuple[int, int]) -> None:
    how = preprocessing(resize="crop", crop_fraction=0.9)
    one = picture(*size, seed=3)
    found = run(resizing_graph(how, 20), one[None])[0].astype(int)
    assert np.abs(found - how.pixels(Image.fromarray(one))).max() <= LEVELS


def test_no_antialiasing_would_be_noticed() -> None:
    how = preprocessing(interpolation="bilinear")
    graph = resizing_graph(how, 20)
    (resize,) = (node for node in graph.graph.node if node.op_type == "Resize")
    for attribute in resize.attribute:
        if attribute.name in ("antialias", "exclude_outside"):
            attribute.i = 0
    one = picture(200, 300, seed=1)
    difference = run(graph, one[None])[0].astype(int) - how.pixels(Image.fromarray(one))
    assert np.abs(difference).max() > 10 * LEVELS


def mean_of_pixels(file: Path, height: int, width: int, kind: int = TensorProto.UINT8) -> None:
    """A network that gives the mean of each channel of raw pixels."""
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float", "axes"], ["logits"], keepdims=0),
    ]
    images = helper.make_tensor_value_info("images", kind, ["batch", height, width, 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [1, 2])
    graph = helper.make_graph(nodes, "mean", [images], [logits], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(file))


def test_network_takes_pictures_of_any_size(tmp_path: Path) -> None:
    file, how = tmp_path / "model.onnx", preprocessing(20, 28)
    mean_of_pixels(file, 20, 28)
    take_pictures(file, how)
    session = onnxruntime.InferenceSession(file)
    assert session.get_inputs()[0].shape == ["batch", "height", "width", 3]
    for height, width in ((20, 28), (200, 50), (7, 9)):
        one = picture(height, width, seed=2)
        (found,) = session.run(None, {"images": one[None]})[0]
        np.testing.assert_allclose(found, how.pixels(Image.fromarray(one)).mean(axis=(0, 1)), atol=0.5)


def test_interpolation_that_onnx_lacks_is_refused(tmp_path: Path) -> None:
    how = preprocessing(interpolation="lanczos")
    assert "lanczos" in why_not(how)
    mean_of_pixels(tmp_path / "model.onnx", 24, 24)
    with pytest.raises(ExportError, match="lanczos"):
        take_pictures(tmp_path / "model.onnx", how)


@pytest.mark.parametrize(("side", "kind"), [(24, TensorProto.FLOAT), (20, TensorProto.UINT8)])
def test_network_that_takes_something_else_is_refused(tmp_path: Path, side: int, kind: int) -> None:
    mean_of_pixels(tmp_path / "model.onnx", side, side, kind)
    with pytest.raises(ExportError, match="does not take pixels of 24 x 24"):
        take_pictures(tmp_path / "model.onnx", preprocessing())
