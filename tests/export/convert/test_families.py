"""A network of each family as a file: ONNX with the logits of the torch subnet, 8 bits, an engine, and timm's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.convert.onnx_products import choose_products
from export.convert.precision import DEFAULT_OPSETS, write_precision
from export.convert.quantize import Inputs, write_int8
from export.convert.to_onnx import DEFAULT_OPSET, write_onnx
from export.convert.to_tensorrt import build_engine
from export.convert.to_timm import folded_state
from export.runtime.onnx_session import open_session
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_builder
from noah.errors import ExportError
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet
from tests.noah.architectures import OTHERS, make_supernet, relative

SIDE = 32
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SUBNET = Subnet(prompt=[2, 0, 3, 1], lora=[1, 2, 0, 1], adapter=[2, 0, 1, 3])
ONE_OF_EACH = ("attention pooling", "distilled", "DINOv3, class token", "BEiT", "relative positions")
OTHER_FORMS = [pytest.param(kind, marks=pytest.mark.slow) for kind in OTHERS if kind not in ONE_OF_EACH]


def small_supernet(kind: str, **options: int) -> Supernet:
    with torch.random.fork_rng(devices=[]):
        return make_supernet(kind, **options).float()


def pixels_and_images(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels, and the same normalized."""
    pixels = np.random.default_rng(count).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)
    return pixels, ((pixels / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)


def logits_of(supernet: Supernet, images: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = supernet(torch.from_numpy(images), SUBNET)
    return found


@pytest.mark.parametrize("kind", [*ONE_OF_EACH, *OTHER_FORMS])
def test_an_onnx_file_gives_the_logits_of_the_unmerged_torch_subnet(kind: str, tmp_path: Path) -> None:
    supernet, file = small_supernet(kind), tmp_path / "model.onnx"
    opset = 23 if kind == "Sapiens2" else DEFAULT_OPSET  # its norms are RMS norms
    write_onnx(merge(supernet, SUBNET), file, height=SIDE, width=SIDE, raw_pixels=False, opset=opset)
    for count in (1, 3):
        _, images = pixels_and_images(count)
        found = torch.from_numpy(open_session(file, provider="cpu").run(images))
        assert relative(found, logits_of(supernet, images)) < 1e-5
    read: list[torch.Tensor] = []
    supernet.head.register_forward_pre_hook(lambda _, inputs: read.extend(inputs))
    expected = logits_of(supernet, images)
    logits, features = open_session(file, provider="cpu", features=True).run_with_features(images)
    assert relative(torch.from_numpy(logits), expected) < 1e-5
    assert relative(torch.from_numpy(features), read[0]) < 1e-5


@pytest.mark.parametrize("kind", ["hybrid that pads", pytest.param("hybrid", marks=pytest.mark.slow)])
def test_a_hybrid_takes_raw_pixels_whether_their_normalization_folds_or_not(kind: str, tmp_path: Path) -> None:
    supernet, file = small_supernet(kind), tmp_path / "model.onnx"
    write_onnx(merge(supernet, SUBNET, raw_pixels=(MEAN, STD)), file, height=SIDE, width=SIDE, raw_pixels=True)
    pixels, images = pixels_and_images(3)
    found = torch.from_numpy(open_session(file, provider="cpu").run(pixels))
    assert relative(found, logits_of(supernet, images)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*ONE_OF_EACH, "hybrid that pads", "Perception Encoder"])
def test_in_8_bits_the_logits_stay_near(kind: str, tmp_path: Path) -> None:
    supernet, source = small_supernet(kind, embed_dim=48), tmp_path / "model.onnx"
    write_onnx(merge(supernet, SUBNET), source, height=SIDE, width=SIDE, raw_pixels=False)
    products = choose_products(onnx.load(str(source)), gemm=True, exclude_last_block=False)
    batches: list[Inputs] = [{"images": pixels_and_images(count)[1]} for count in (8, 5, 7)]
    write_int8(source, tmp_path / "int8.onnx", products, batches, calibration="minmax", symmetric=False)
    _, images = pixels_and_images(32)
    found = torch.from_numpy(open_session(tmp_path / "int8.onnx", provider="cpu").run(images))
    expected = logits_of(supernet, images)
    assert 0 < float((found - expected).abs().mean() / expected.abs().max()) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*ONE_OF_EACH, "hybrid", "Perception Encoder"])
def test_an_engine_is_built(kind: str, tmp_path: Path) -> None:
    source = tmp_path / "model.onnx"
    merged = merge(small_supernet(kind), SUBNET)
    write_onnx(merged, source, height=SIDE, width=SIDE, raw_pixels=False, opset=DEFAULT_OPSETS["fp16"])
    write_precision(source, "fp16")
    builder = choose_builder("fp16", ("sm89",))
    record = build_engine(source, tmp_path / "engine", builder, Profile(1, 2, 8), "fp16", tmp_path / "cache")
    assert set(record.layers["MATRIX_MULTIPLY"]) == {"HALF"}


FOLDING = {"lora": 2, "lora_proj": 1, "lora_fc1": 1, "lora_fc2": 2}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_folds_is_a_state_of_timm_s_own_network(kind: str) -> None:
    supernet = make_supernet(kind, largest=Subnet.uniform(4, **FOLDING, bias=1))
    subnet = supernet.largest
    timm_s: Any = supernet.backbone
    images = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        expected = supernet(images, subnet)
        timm_s.load_state_dict(folded_state(supernet, subnet))
        assert relative(timm_s(images), expected) < 1e-12


@pytest.mark.parametrize("kind", ["BEiT", "EVA-02", "EVA-02 with three projections"])
def test_a_bias_of_the_keys_has_a_place_where_scores_depend_on_it_or_it_is_left_out(kind: str) -> None:
    supernet = make_supernet(kind, largest=Subnet.uniform(4, scale_shift=1))
    images = torch.randn(2, 3, SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        expected = supernet(images, supernet.largest)
        if kind != "BEiT":
            with pytest.raises(ExportError, match=r"folds into a bias, blocks\.0\.attn\.k_(proj\.)?bias, which"):
                folded_state(supernet, supernet.largest)
            return
        supernet.backbone.load_state_dict(folded_state(supernet, supernet.largest))
        assert relative(supernet.backbone(images), expected) < 1e-12
