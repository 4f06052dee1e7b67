"""ONNX files: the same logits as the torch subnet for every kind of backbone and batch; what a file must not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from packaging.version import Version
from timm.layers import RmsNorm, SwiGLU
from timm.models.vision_transformer import VisionTransformer
from torch import nn

import export
from export.convert.to_onnx import DEFAULT_OPSET, check_onnx, least_opset, write_onnx
from export.runtime.onnx_session import open_session
from noah.errors import ExportError
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.operators import sample
from noah.space.search_space import make_space
from noah.space.subnet import Subnet

HEIGHT, WIDTH = 24, 16
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
WIDTHS = {"prompt": (2, 4), "lora": (1, 3), "adapter": (2, 5)}


@dataclass(frozen=True)
class Written:
    """A random subnet on a random backbone, and the ONNX file of it."""

    supernet: Supernet
    subnet: Subnet
    file: Path
    raw_pixels: bool
    opset: int


def small_backbone(**options: Any) -> VisionTransformer:
    """A backbone whose weights are all random, so that nothing hides behind a zero or a one."""
    sizes = {"img_size": (HEIGHT, WIDTH), "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4}
    backbone = VisionTransformer(**{**sizes, "num_classes": 0, **options})
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return backbone


def small_supernet(**options: Any) -> tuple[Supernet, Subnet]:
    """A supernet with random modules, and a random subnet of it."""
    backbone = small_backbone(**options)
    space = make_space(3, 32, WIDTHS)
    supernet = Supernet(backbone, space.largest, num_classes=5).eval()
    for name, parameter in supernet.named_parameters():
        if not name.startswith("backbone."):
            nn.init.normal_(parameter, std=0.3)
    return supernet, sample(space, np.random.default_rng(4))


RMS_NORM = "RMS norm, SwiGLU"
KEEPS_RMS_NORM = pytest.mark.skipif(
    Version(torch.__version__) < Version("2.11"), reason="torch 2.8 takes RMS norms apart"
)
KINDS: dict[str, tuple[dict[str, Any], bool, int]] = {
    "class token": ({}, False, DEFAULT_OPSET),
    "average pooling, registers, LayerScale": (
        {"global_pool": "avg", "reg_tokens": 2, "init_values": 0.3},
        False,
        DEFAULT_OPSET,
    ),
    "query and key norm, any image size": ({"qk_norm": True, "dynamic_img_size": True}, False, DEFAULT_OPSET),
    "raw pixels": ({"reg_tokens": 1}, True, DEFAULT_OPSET),
    RMS_NORM: ({"norm_layer": RmsNorm, "mlp_layer": SwiGLU}, False, 23),
}


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[KEEPS_RMS_NORM] * (kind == RMS_NORM)) for kind in KINDS]
)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    options, raw_pixels, opset = KINDS[request.param]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        supernet, subnet = small_supernet(**options)
    file = tmp_path_factory.mktemp("written") / "model.onnx"
    merged = merge(supernet, subnet, raw_pixels=(MEAN, STD) if raw_pixels else None)
    write_onnx(merged, file, height=HEIGHT, width=WIDTH, raw_pixels=raw_pixels, opset=opset)
    return Written(supernet, subnet, file, raw_pixels, opset)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_it_gives_the_logits_of_the_unmerged_torch_subnet(written: Written, batch: int) -> None:
    rng = np.random.default_rng(batch)
    pixels = rng.integers(0, 256, (batch, HEIGHT, WIDTH, 3), dtype=np.uint8)
    images = ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        expected = written.supernet(torch.from_numpy(images), written.subnet).numpy()
    session = open_session(written.file, provider="cpu").session
    (logits,) = session.run(["logits"], {"images": pixels if written.raw_pixels else images})
    assert logits.dtype == np.float32
    assert logits.shape == (batch, 5)
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max()


def test_the_subnets_are_worth_testing(written: Written) -> None:
    """Each module occurs, and changes the logits."""
    subnet = written.subnet
    images = torch.randn(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = written.supernet(images, subnet)
        for module in ("prompt", "lora", "adapter"):
            assert any(subnet.widths(module))
            without = Subnet(**{**subnet.to_json(), module: [0] * subnet.depth})
            assert (written.supernet(images, without) - expected).abs().max() > 1e-3 * expected.abs().max()


def test_the_file_is_as_asked(written: Written) -> None:
    model = onnx.load(written.file)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [written.opset]
    ((images,), (logits,)) = model.graph.input, model.graph.output
    assert (images.name, logits.name) == ("images", "logits")
    found = [size.dim_param or size.dim_value for size in images.type.tensor_type.shape.dim]
    assert found == (["batch", HEIGHT, WIDTH, 3] if written.raw_pixels else ["batch", 3, HEIGHT, WIDTH])
    assert images.type.tensor_type.elem_type == (TensorProto.UINT8 if written.raw_pixels else TensorProto.FLOAT)
    assert [size.dim_param or size.dim_value for size in logits.type.tensor_type.shape.dim] == ["batch", 5]
    assert not list(written.file.parent.glob("*.data"))
    check_onnx(written.file, opset=written.opset)


def test_the_file_holds_no_paths_of_this_machine(written: Written) -> None:
    content = written.file.read_bytes()
    assert b".py" not in content
    assert str(Path(export.__file__).parents[1]).encode() not in content


def test_the_least_opset_has_the_norms_of_the_network() -> None:
    assert least_opset(small_supernet()[0]) == 18
    assert least_opset(small_supernet(norm_layer=RmsNorm)[0]) == 23
    assert least_opset(torch.nn.Sequential(torch.nn.RMSNorm(3))) == 23


def test_rms_norm_needs_a_newer_opset_and_says_so(tmp_path: Path) -> None:
    supernet, subnet = small_supernet(norm_layer=RmsNorm)
    with pytest.raises(ExportError) as raised:
        write_onnx(merge(supernet, subnet), tmp_path / "m.onnx", height=HEIGHT, width=WIDTH, raw_pixels=False)
    assert "norms were taken apart" in raised.value.problem
    assert raised.value.hint == "A backbone with RMS norm needs --opset 23 or more."


def test_weights_beyond_the_limit_of_a_file_go_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.convert.onnx_files.PROTOBUF_LIMIT", 1000)
    model = nn.Sequential(nn.Flatten(), nn.LayerNorm(48), nn.Linear(48, 5)).eval()
    write_onnx(model, tmp_path / "model.onnx", height=4, width=4, raw_pixels=False)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "model.onnx.data"}
    images = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    (logits,) = open_session(tmp_path / "model.onnx", provider="cpu").session.run(None, {"images": images.numpy()})
    assert logits == pytest.approx(model(images).detach().numpy(), abs=1e-5)


def test_an_opset_that_is_too_old() -> None:
    with pytest.raises(ExportError, match=r"^Opset 17 is too old\.\nUse --opset 20, or at least 18\.$"):
        write_onnx(nn.Identity(), Path("nowhere.onnx"), height=8, width=8, raw_pixels=False, opset=17)


@pytest.mark.parametrize(
    ("error", "cause"),
    [(RuntimeError("no such operator\nat line 3"), "no such operator"), (AssertionError(), "AssertionError")],
)
def test_a_failing_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, cause: str) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ExportError) as raised:
        write_onnx(nn.Linear(1, 1), tmp_path / "m.onnx", height=8, width=8, raw_pixels=False)
    assert raised.value.problem == f"The ONNX exporter failed: {cause}"


def norm_graph(
    *,
    batch: str | int = "batch",
    opset: int = DEFAULT_OPSET,
    taken_apart: bool = False,
    node: str = "LayerNormalization",
) -> onnx.ModelProto:
    """A graph of one norm over the last axis."""
    constants = {"scale": np.ones(4, np.float32), "shift": np.zeros(4, np.float32)}
    if taken_apart:
        constants |= {"axis": np.array([-1]), "two": np.array(2, np.float32)}
        steps = [
            ("ReduceMean", ["images", "axis"], "mean"),
            ("Sub", ["images", "mean"], "centered"),
            ("Pow", ["centered", "two"], "square"),
            ("ReduceMean", ["square", "axis"], "variance"),
            ("Sqrt", ["variance"], "deviation"),
            ("Div", ["centered", "deviation"], "logits"),
        ]
    else:
        steps = [(node, ["images", "scale", "shift"], "logits")]
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps],
        "norm",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def save(model: onnx.ModelProto) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(model.SerializeToString()) and None


def test_a_good_graph_passes(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save(norm_graph())(path)
    check_onnx(path, opset=DEFAULT_OPSET)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (save(norm_graph(batch=2)), "The batch axis of images is fixed."),
        (save(norm_graph(batch="other")), "The batch axis of images is fixed."),
        (save(norm_graph(opset=21)), "The file has opset 21, not 20."),
        (save(norm_graph(taken_apart=True)), "The norms were taken apart instead of becoming LayerNormalization."),
        (save(norm_graph(node="LayerNorm")), "onnx.checker refuses the file: No Op registered for LayerNorm"),
        (save(norm_graph(node="Gather")), "onnx.checker refuses the file: "),
        (lambda path: path.write_bytes(b"no model"), "onnx.checker refuses the file: "),
        (lambda path: path.write_bytes(norm_graph().SerializeToString()[:-40]), "onnx.checker refuses the file: "),
    ],
    ids=["fixed batch", "another axis", "opset", "norm taken apart", "operator", "invalid", "no protobuf", "cut short"],
)
def test_a_bad_graph_is_caught(tmp_path: Path, write: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "m.onnx"
    write(path)
    with pytest.raises(ExportError) as raised:
        check_onnx(path, opset=DEFAULT_OPSET)
    assert raised.value.problem.startswith(message)
    assert "\n" not in raised.value.problem
