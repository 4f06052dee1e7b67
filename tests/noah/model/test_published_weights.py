"""Agreement with the published model code: logits, losses, gradients and parameter counts in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from noah.errors import CheckpointError, UsageError
from noah.model.merge import merge
from noah.model.published_weights import load_reference, our_name
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet
from tests.noah.architectures import relative

DATA = Path(__file__).parents[2] / "data"
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

    @pytest.mark.parametrize("shape", [(3, 5, 48), (0, 5, 48), (5, 48), (48,), (1, 1, 5, 48), (1, 0, 48)])
    def test_a_prompt_that_is_no_single_one_is_refused(
        self, weights: dict[str, np.ndarray], shape: tuple[int, ...]
    ) -> None:
        name = "blocks.1.visual_prompt_token"
        with pytest.raises(CheckpointError) as caught:
            load({**weights, name: np.zeros(shape)})
        assert caught.value.problem == f"'{name}' has the shape {shape}; the published model has (1, P, D) there."

    @pytest.mark.parametrize(
        ("name", "shape"),
        [
            ("pos_embed", ()),
            ("pos_embed", (17, 48)),
            ("pos_embed", (2, 17, 48)),
            ("pos_embed", (1, 17, 0)),
            ("blocks.0.mlp.fc1.weight", ()),
            ("head.weight", (10,)),
            ("head.weight", (0, 48)),
            ("blocks.2.attn.LoRA_a.weight", ()),
            ("blocks.3.adapter.ln1.weight", (5, 48, 1)),
        ],
    )
    def test_a_shape_that_tells_no_size_is_refused_in_words(
        self, weights: dict[str, np.ndarray], name: str, shape: tuple[int, ...]
    ) -> None:
        with pytest.raises(CheckpointError, match="there") as caught:
            load({**weights, name: np.zeros(shape)})
        assert caught.value.problem.startswith(f"'{name}' has the shape {shape}; the published model has (")

    def test_a_0d_array_elsewhere_is_refused_in_words(self, weights: dict[str, np.ndarray]) -> None:
        with pytest.raises(CheckpointError, match=r"blocks\.0\.attn\.qkv\.bias: found \(\), expected \(144,\)"):
            load({**weights, "blocks.0.attn.qkv.bias": np.zeros(())})

    @pytest.mark.parametrize(
        "name",
        [
            f"blocks.{rest}"
            for rest in ("x.foo", "", "3", "01.x", ".x", "-1.x", "0.", "0.x\n", "\u00b2.x", "\u0663.x", "9" * 5000)
        ],
    )
    def test_a_block_without_a_number_is_refused_in_words(self, weights: dict[str, np.ndarray], name: str) -> None:
        with pytest.raises(CheckpointError) as caught:
            load({**weights, name: np.zeros(3)})
        assert caught.value.problem.endswith(" is not of the form 'blocks.NUMBER.NAME'.")
        assert caught.value.problem.isprintable() and len(caught.value.problem) < 200

    @pytest.mark.parametrize("name", [None, 1, b"head.weight", ("head", "weight")])
    def test_a_name_that_is_no_text_is_refused(self, weights: dict[str, np.ndarray], name: Any) -> None:
        with pytest.raises(CheckpointError, match="is not the name of a weight"):
            load({**weights, name: np.zeros(3)})

    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ("text", "str"),
            (None, "NoneType"),
            ({}, "dict"),
            ([[1.0], [1.0, 2.0]], "list"),
            (np.array(["text"]), "ndarray of <U4"),
            (np.array([object()]), "ndarray of object"),
            (np.zeros((10, 48), np.int64), "int64"),
            (torch.zeros((10, 48), dtype=torch.uint8), "uint8"),
            (np.zeros((10, 48), bool), "bool"),
            (np.zeros((10, 48), complex), "complex128"),
        ],
        ids=lambda part: part if isinstance(part, str) else "",
    )
    @pytest.mark.parametrize("name", ["head.weight", "pos_embed", "blocks.1.visual_prompt_token"])
    def test_what_is_no_floating_point_number_is_refused(
        self, weights: dict[str, np.ndarray], name: str, value: Any, told: str
    ) -> None:
        with pytest.raises(CheckpointError) as caught:
            load({**weights, name: value})
        assert caught.value.problem == f"'{name}' holds {told}, not floating-point numbers."

    def test_dead_weights_may_be_anything(self, weights: dict[str, np.ndarray]) -> None:
        assert load({**weights, "visual_prompt_token": "text"}).largest == load(weights).largest  # type: ignore[dict-item]

    @pytest.mark.parametrize("option", ["patch_size", "img_size"])
    @pytest.mark.parametrize("size", [0, -1])
    def test_a_side_below_one_pixel_is_wrong_usage(
        self, weights: dict[str, np.ndarray], option: str, size: int
    ) -> None:
        with pytest.raises(UsageError, match=f"{option} is {size}") as caught:
            load_reference(weights, num_heads=3, **{option: size})
        assert f"leave {option} out" in caught.value.hint

    def test_something_else_is_refused(self) -> None:
        with pytest.raises(CheckpointError, match="not weights of the published model"):
            load({"conv1.weight": np.zeros(3)})
