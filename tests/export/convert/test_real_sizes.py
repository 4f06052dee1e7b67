"""One architecture of each family at the size in which people use it, with random weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from export.convert.to_onnx import write_onnx
from export.runtime.onnx_session import open_session
from noah.backbone.supported import untrained_backbone
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.kinds import KINDS
from noah.space.subnet import Subnet
from tests.noah.architectures import images_for, randomize, relative
from tests.noah.plain import plain_forward

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

REAL = (
    "vit_small_patch16_224",
    "vit_small_patch16_dinov3",
    "eva02_small_patch14_224",
    "vit_base_patch16_siglip_224",
    "beit_base_patch16_224",
    "vit_relpos_small_patch16_224",
    "deit_small_distilled_patch16_224",
    "vit_small_r26_s32_224",
)
SIDE, CLASSES = 224, 10
PAPER = Subnet(prompt=[5] * 6 + [0] * 6, lora=[5] * 9 + [0] * 3, adapter=[5] * 9 + [0] * 3)


@pytest.mark.parametrize("architecture", REAL)
def test_a_network_of_real_size_starts_as_it_is_and_merges_exactly(architecture: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = untrained_backbone(architecture, (SIDE, SIDE), CLASSES)
    fresh = Supernet(backbone, Subnet.uniform(12, **dict.fromkeys(KINDS, 1))).eval()
    images = images_for(backbone, 2).float()
    starts = {kind: 1 for kind, value in KINDS.items() if value.starts_as_identity}
    with torch.inference_mode():
        assert relative(fresh(images, Subnet.uniform(12, **starts)), backbone(images)) < 1e-6

    supernet = Supernet(backbone, PAPER).eval()
    for kind in supernet.kinds:
        for index in range(12):
            randomize(supernet.module(kind, index))
    file = tmp_path / "model.onnx"
    write_onnx(merge(supernet, PAPER), file, height=SIDE, width=SIDE, raw_pixels=False)
    with torch.inference_mode():
        found = torch.from_numpy(open_session(file, provider="cpu").run(images.numpy()))
        assert relative(found, supernet(images, PAPER)) < 1e-5
        exact, images = supernet.double(), images.double()
        expected = plain_forward(exact, images, PAPER)
        assert relative(exact(images, PAPER), expected) < 1e-9
        assert relative(merge(exact, PAPER)(images), expected) < 1e-9
