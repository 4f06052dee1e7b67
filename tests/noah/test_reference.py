"""Agreement with the published model code: logits, losses, gradients and parameter counts in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from noah.errors import CheckpointError
from noah.merge import merge
from noah.reference import load_reference, our_name
from noah.subnet import Subnet
from noah.supernet import Supernet
from tests.noah.architectures import relative

DATA = Path(__file__).parent.parent / "data"
FIGURES = json.loads((DATA / "noah_tiny.json").read_text())
SUBNETS: list[dict[str, Any]] = FIGURES["subnets"]
BOUND = 1e-9


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with np.load(DATA / "noah_tiny.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def weights(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix("weights/"): array for name, array in arrays.items() if name.startswith("weights/")}


@pytest.fixture
def supernet(weights: dict[str, np.ndarray]) -> Supernet:
    return load(weights)


def load(weights: dict[str, np.ndarray]) -> Supernet:
    return load_reference(
        weights, num_heads=FIGURES["num_heads"], patch_size=FIGURES["patch_size"], img_size=FIGURES["img_size"]
    ).eval()


def subnet_of(figures: dict[str, Any]) -> Subnet:
    return Subnet(prompt=figures["prompt"], lora=figures["lora"], adapter=figures["adapter"])


@pytest.mark.parametrize("figures", SUBNETS, ids=lambda figures: figures["name"])
class TestPublishedFigures:
    def test_logits_of_the_supernet(
        self, figures: dict[str, Any], supernet: Supernet, arrays: dict[str, np.ndarray]
    ) -> None:
        logits = supernet(torch.from_numpy(arrays["input"]), subnet_of(figures))
        assert relative(logits, torch.from_numpy(arrays[f"logits/{figures['name']}"])) < BOUND

    def test_logits_of_the_merged_network(
        self, figures: dict[str, Any], supernet: Supernet, arrays: dict[str, np.ndarray]
    ) -> None:
        logits = merge(supernet, subnet_of(figures))(torch.from_numpy(arrays["input"]))
        assert relative(logits, torch.from_numpy(arrays[f"logits/{figures['name']}"])) < BOUND

    def test_loss_and_gradients(
        self, figures: dict[str, Any], supernet: Supernet, arrays: dict[str, np.ndarray]
    ) -> None:
        logits = supernet(torch.from_numpy(arrays["input"]), subnet_of(figures))
        loss = F.cross_entropy(logits, torch.from_numpy(arrays["target"]))
        assert loss.item() == pytest.approx(figures["loss"], rel=BOUND)
        loss.backward()

        expected = gradients_of(figures["name"], arrays)
        assert expected
        for name, parameter in supernet.named_parameters():
            if name in expected:
                assert parameter.grad is not None, name
                assert relative(parameter.grad, expected[name]) < BOUND, name
            elif parameter.grad is not None:
                assert not parameter.grad.any(), name

    def test_parameter_counts(self, figures: dict[str, Any]) -> None:
        subnet = subnet_of(figures)
        assert subnet.parameter_count(FIGURES["embed_dim"]) == figures["effective_count"]
        assert subnet.reference_count(FIGURES["embed_dim"], FIGURES["super_dim"]) == figures["reference_count"]


def gradients_of(name: str, arrays: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The published gradients of one subnet under our names; its code calls the adapter's output bias otherwise."""
    found = {}
    for key, array in arrays.items():
        if key.startswith(f"grad/{name}/"):
            theirs = key.removeprefix(f"grad/{name}/").replace("sampled_bias_1", "ln2.bias")
            gradient = torch.from_numpy(array)
            found[our_name(theirs)] = gradient[0] if "visual_prompt" in theirs else gradient
    return found


class TestRefusals:
    def test_missing_weight_is_named(self, weights: dict[str, np.ndarray]) -> None:
        del (partial := dict(weights))["blocks.2.mlp.fc1.bias"]
        with pytest.raises(CheckpointError, match=r"blocks\.2\.mlp\.fc1\.bias"):
            load(partial)

    def test_unknown_weight_is_named(self, weights: dict[str, np.ndarray]) -> None:
        with pytest.raises(CheckpointError, match="surprise"):
            load({**weights, "surprise": np.zeros(3)})

    def test_other_image_size_is_refused(self, weights: dict[str, np.ndarray]) -> None:
        with pytest.raises(CheckpointError, match="pos_embed"):
            load_reference(weights, num_heads=3, patch_size=8, img_size=64)

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(CheckpointError, match="not weights of the published model"):
            load({"conv1.weight": np.zeros(3)})
