"""What the benchmarks compare with is the method: it agrees with the published model code, and with ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.step_ways import Setting, check_agreement, pair
from benchmarks.straightforward import Straightforward
from noah.model.published_weights import load_reference
from noah.space.subnet import Subnet
from tests.noah.architectures import images_for, make_supernet, relative
from tests.noah.model.test_published_weights import gradients_of

DATA = Path(__file__).parent.parent / "data"
FIGURES = json.loads((DATA / "noah_tiny.json").read_text())
BOUND = 1e-9
TINY = Setting("tiny", "paper", torch.device("cpu"), 4, "fp32")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(DATA / "noah_tiny.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture
def model(arrays: dict[str, np.ndarray]) -> Straightforward:
    weights = {name.removeprefix("weights/"): array for name, array in arrays.items() if name.startswith("weights/")}
    supernet = load_reference(
        weights, num_heads=FIGURES["num_heads"], patch_size=FIGURES["patch_size"], img_size=FIGURES["img_size"]
    )
    made = Straightforward(supernet.backbone, supernet.largest, supernet.num_classes).double()
    found = made.load_state_dict(supernet.trainable_state(), strict=False)
    assert not found.unexpected_keys and all(name.startswith("backbone.") for name in found.missing_keys)
    return made


@pytest.mark.parametrize("figures", FIGURES["subnets"], ids=lambda figures: figures["name"])
def test_logits_loss_and_gradients_are_the_published_code_s(
    figures: dict[str, Any], model: Straightforward, arrays: dict[str, np.ndarray]
) -> None:
    subnet = Subnet(prompt=figures["prompt"], lora=figures["lora"], adapter=figures["adapter"])
    logits = model(torch.from_numpy(arrays["input"]), subnet)
    assert relative(logits, torch.from_numpy(arrays[f"logits/{figures['name']}"])) < BOUND
    loss = F.cross_entropy(logits, torch.from_numpy(arrays["target"]))
    assert loss.item() == pytest.approx(figures["loss"], rel=BOUND)
    loss.backward()
    expected = gradients_of(figures["name"], arrays)
    for name, parameter in model.named_parameters():
        if name in expected:
            assert parameter.grad is not None, name
            assert relative(parameter.grad, expected[name]) < BOUND, name
        else:
            assert parameter.grad is None or not parameter.grad.any(), name


def test_layer_scale_is_where_ours_is() -> None:
    supernet = make_supernet("LayerScale")
    model = Straightforward(supernet.backbone, supernet.largest, supernet.num_classes).double().eval()
    model.load_state_dict(supernet.trainable_state(), strict=False)
    images = images_for(supernet.backbone)
    for subnet in (supernet.largest, Subnet([2, 1, 0, 0], [0, 3, 1, 0], [5, 0, 2, 0])):
        assert relative(model(images, subnet), supernet(images, subnet)) < 1e-9


def test_dropout_acts_in_training_only() -> None:
    plain, _ = pair(TINY, 0.5)
    images, _ = TINY.batch()
    subnet = TINY.search_space(plain.backbone).largest
    with torch.no_grad():
        assert not torch.equal(plain.train()(images, subnet), plain(images, subnet))
        assert torch.equal(plain.eval()(images, subnet), plain(images, subnet))


def test_the_check_before_a_measurement_sees_rounding_only_and_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    subnet = TINY.search_space(TINY.backbone()).largest
    differences = check_agreement(TINY, subnet)
    assert differences.keys() == {"logits", "merged logits", "gradients"}
    assert 0 < max(differences.values()) < 1e-3
    monkeypatch.setattr("noah.model.kinds.bottleneck.QuickGELU.forward", lambda self, z: z)
    with pytest.raises(AssertionError):
        check_agreement(TINY, subnet)
