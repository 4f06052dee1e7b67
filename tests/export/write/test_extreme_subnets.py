"""Subnets at the ends of what a space allows, and random ones: the ONNX file gives the logits of the torch subnet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from export.convert.to_onnx import write_onnx
from export.runtime.onnx_session import open_session
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet
from tests.noah.architectures import make_supernet
from tests.noah.strategies import subnets

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = 1e-5  # of the largest logit, for float32
EXTREMES = {
    "no prompt": Subnet.uniform(4, lora=3, adapter=5),
    "no LoRA": Subnet.uniform(4, prompt=4, adapter=5),
    "no adapter": Subnet.uniform(4, prompt=4, lora=3),
    "the largest widths": Subnet.uniform(4, prompt=4, lora=3, adapter=5),
    "prompts in the last block alone": Subnet([0, 0, 0, 4], [0] * 4, [0] * 4),
}
KINDS = ["class token", "average pooling", "registers", "LayerScale", "query and key norm", "no biases"]
"""Those that the default operator set has all parts of."""


def assert_agrees(supernet: Supernet, subnet: Subnet, folder: Path) -> None:
    """Write the merged subnet and compare its logits with those of the unmerged one, for batches of 1 and 3."""
    supernet = supernet.float()
    height, width = supernet.backbone.patch_embed.img_size
    path = folder / "model.onnx"
    write_onnx(merge(supernet, subnet), path, height=height, width=width, raw_pixels=False)
    session = open_session(path, provider="cpu").session
    for batch in (1, 3):
        images = torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))
        with torch.inference_mode():
            expected = supernet(images, subnet).numpy()
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        assert np.abs(logits - expected).max() < TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize(
    "name",
    [name if name == "the largest widths" else pytest.param(name, marks=pytest.mark.slow) for name in EXTREMES],
)
def test_extremes(name: str, tmp_path: Path) -> None:
    assert_agrees(make_supernet("class token"), EXTREMES[name], tmp_path)


def test_a_backbone_of_one_block(tmp_path: Path) -> None:
    assert_agrees(make_supernet("one block"), Subnet.uniform(1, prompt=4, lora=3, adapter=5), tmp_path)


@pytest.mark.slow
@given(kind=st.sampled_from(KINDS), subnet=subnets(4))
@settings(max_examples=3)
def test_random_subnets(kind: str, subnet: Subnet, tmp_path_factory: pytest.TempPathFactory) -> None:
    assert_agrees(make_supernet(kind), subnet, tmp_path_factory.mktemp("random"))
