from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from noah.hardware.device import Hardware
from noah.prepare.context import LARGEST_BATCH, USUAL_BATCH, choose_evaluation_batch
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials

GPU = Hardware(torch.device("cuda"), "bf16", 1, ())
IMAGE = (5 + 10) * 64 * 40 + 3 * 32 * 32 * 5
"""Bytes: 4 patches and the class token, the largest prompt of the space, 64 numbers a token in bf16; the pixels."""


@pytest.mark.parametrize(
    ("images", "size"), [(0, 1), (1, 1), (2, 2), (7, 4), (64, 64), (511, 256), (512, 512), (10**6, LARGEST_BATCH)]
)
def test_a_power_of_two_that_takes_a_quarter_of_the_gpu(tiny_settings: TinySettings, images: int, size: int) -> None:
    materials = make_materials(tiny_settings())
    chosen = choose_evaluation_batch(GPU, materials.backbone, materials.space, free=4 * IMAGE * images)
    assert chosen is not None
    assert (chosen.what, chosen.value) == ("batch", str(size))
    assert "25% of" in chosen.reason
    assert replace(materials, evaluation_batch=chosen).evaluation_batch_size == size
    full = choose_evaluation_batch(
        replace(GPU, precision="fp32"), materials.backbone, materials.space, free=4 * IMAGE * images
    )
    assert full is not None and int(full.value) <= size


@pytest.mark.parametrize(("asked", "size"), [({}, USUAL_BATCH), ({"hardware.evaluation_batch_size": 7}, 7)])
def test_on_a_cpu_it_is_as_set_or_as_usual(tiny_settings: TinySettings, asked: dict[str, Any], size: int) -> None:
    materials = make_materials(tiny_settings(asked))
    assert materials.evaluation_batch is None
    assert materials.evaluation_batch_size == size
    assert [choice.what for choice in materials.choices] == []
