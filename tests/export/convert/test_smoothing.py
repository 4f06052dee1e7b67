"""Smoothing is exact for every family, and brings the channels of an activation closer together where it can."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from export.convert.onnx_products import choose_products
from export.convert.quantize import usable_weight_bits, write_int8
from export.convert.smoothing import smooth, smoothing_places
from export.convert.to_onnx import write_onnx
from export.runtime.onnx_session import open_session
from noah.model.merge import MergedViT, merge
from noah.space.subnet import Subnet
from tests.noah.architectures import ARCHITECTURES, images_for, make_supernet, relative

EVERYWHERE = {"before attention": 4, "before attention's projection": 4, "before the MLP": 4}
OTHERWISE: dict[str, dict[str, int]] = {
    "one block": dict.fromkeys(EVERYWHERE, 1),
    "norms inside attention and MLP": EVERYWHERE | {"inside the MLP": 4},
    "SwiGLU and RMS norm": EVERYWHERE | {"inside the MLP": 4},
    "EVA-02": EVERYWHERE | {"inside the MLP": 4},
    "EVA-02 with three projections": EVERYWHERE | {"inside the MLP": 4},
    "Sapiens2": EVERYWHERE | {"inside the MLP": 4},
    "BEiT with shared positions, class token": EVERYWHERE | {"inside the MLP": 4},
    "parallel blocks": {"before attention and MLP": 4, "before attention's projection": 4},
    "parallel blocks, biased": {"before attention and MLP": 4, "before attention's projection": 4},
    "norms behind the branches": {"before attention's projection": 4},
    "EVA with norms behind": {"before attention's projection": 4},
    "relative positions, norms behind": {"before attention's projection": 4},
}
SUBNET = Subnet(prompt=[2, 0, 3, 1], lora=[1, 2, 0, 1], adapter=[2, 0, 1, 3])


def merged(kind: str, subnet: Subnet = SUBNET, seed: int = 0, **largest: Any) -> tuple[MergedViT, Tensor]:
    """A merged network in float64, and images for it."""
    with torch.random.fork_rng(devices=[]):
        supernet = make_supernet(kind, seed=seed, **largest)
        depth = len(supernet.backbone.blocks)
        cut = Subnet(**{name: widths[:depth] for name, widths in subnet.to_json().items()})
        return merge(supernet, cut), images_for(supernet.backbone)


def give_outliers(network: MergedViT, factor: float) -> None:
    """Make one channel of every activation that can be smoothed larger than the others."""
    with torch.no_grad():
        for place in smoothing_places(network):
            for part in place.divided:
                part[..., 1].mul_(factor)


def forward(images: Tensor) -> Callable[[MergedViT], None]:
    def run_it(network: MergedViT) -> None:
        run(network, images)

    return run_it


def run(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(images)
    return found


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_outputs_stay_wherever_it_finds_a_place(kind: str) -> None:
    network, images = merged(kind)
    give_outliers(network, 30)
    before, expected = copy.deepcopy(network.state_dict()), run(network, images)
    smoothed = smooth(network, forward(images))
    assert smoothed.places == OTHERWISE.get(kind, EVERYWHERE)
    assert relative(run(smoothed.network, images), expected) < 1e-12
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("kind", ["class token", "Sapiens2", "EVA-02", "gated attention", "BEiT"])
def test_outputs_stay_in_float32_too(kind: str) -> None:
    network, images = merged(kind)
    in_float32, of_float32 = network.float(), images.float()
    smoothed = smooth(in_float32, forward(of_float32)).network
    assert relative(run(smoothed, of_float32), run(in_float32, of_float32)) < 1e-5


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from(ARCHITECTURES),
    st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=4, max_size=4),
    st.floats(1e-3, 1e3),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_outputs_stay_for_any_subnet_outlier_and_strength(
    kind: str, widths: list[tuple[int, int, int]], outlier: float, strength: float, seed: int
) -> None:
    prompt, lora, adapter = zip(*widths, strict=True)
    network, images = merged(kind, Subnet(prompt=prompt, lora=lora, adapter=adapter), seed)
    give_outliers(network, outlier)
    smoothed = smooth(network, forward(images), strength=strength)
    assert relative(run(smoothed.network, images), run(network, images)) < 1e-10
    assert smoothing_places(smoothed.network)


@pytest.mark.parametrize("kind", ["class token", "Sapiens2", "EVA-02", "parallel blocks", "gated attention"])
def test_channels_come_closer_together(kind: str) -> None:
    network, images = merged(kind)
    give_outliers(network, 100)
    smoothed = smooth(network, forward(images)).network
    for before, after in zip(smoothing_places(network), smoothing_places(smoothed), strict=True):
        spreads = [spread(net, place, images) for net, place in ((network, before), (smoothed, after))]
        assert spreads[1] < spreads[0] / 2


def spread(network: MergedViT, place: Any, images: Tensor) -> float:
    """How much larger the largest channel of an activation is than the median channel."""
    seen: list[Tensor] = []
    if place.is_input:
        handle = place.observed.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    else:
        handle = place.observed.register_forward_hook(lambda _, __, output: seen.append(output))
    run(network, images)
    handle.remove()
    largest = seen[0].abs().flatten(0, -2).amax(dim=0)
    return float(largest.max() / largest.median())


def test_an_outlier_that_8_bits_cannot_hold_is_held_after_smoothing(tmp_path: Path) -> None:
    """A network and its twin with one huge channel are the same in float32, and after smoothing in 8 bits, too."""
    network, images = merged("class token", embed_dim=48)
    network, images = network.float(), torch.randn(16, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = run(network, images)

    def error(each: MergedViT, name: str) -> float:
        source, target = tmp_path / f"{name}.onnx", tmp_path / f"int8-{name}.onnx"
        write_onnx(each, source, height=32, width=32, raw_pixels=False)
        products = choose_products(onnx.load(source), gemm=True, exclude_last_block=False)
        batches = [{"images": images.numpy()}]
        write_int8(source, target, products, batches, calibration="minmax", symmetric=False)
        found = torch.from_numpy(open_session(target, provider="cpu").run(images.numpy()))
        return relative(found, expected)

    without = error(network, "without")
    with torch.no_grad():
        for place in smoothing_places(network):
            divisors = torch.ones(place.multiplied[0].shape[-1])
            divisors[1] = 1 / 300
            place.divide(divisors)
    assert relative(run(network, images), expected) < 1e-5
    outlier, smoothed = error(network, "outlier"), error(smooth(network, forward(images)).network, "smoothed")
    assert smoothed - without < (outlier - without) / 2
    if usable_weight_bits() == 8:  # with 7, on processors without VNNI, much is lost without an outlier, too
        assert smoothed < outlier / 2


def test_a_channel_that_is_always_zero_divides_by_no_zero() -> None:
    network, images = merged("class token")
    give_outliers(network, 0)
    smoothed = smooth(network, forward(images)).network
    assert relative(run(smoothed, images), run(network, images)) < 1e-12


def test_strength_says_who_bears_the_outlier() -> None:
    """At 1 all channels of the activations have the same largest value, at 0 all columns of the weights."""
    network, images = merged("class token")
    for strength in (0.0, 1.0):
        smoothed = smooth(network, forward(images), strength=strength).network
        place = smoothing_places(smoothed)[1]  # whose weights no other place changes
        columns = torch.cat([part.abs().flatten(0, -2) for part in place.multiplied]).amax(dim=0)
        assert bool(torch.allclose(columns, columns[:1])) == (strength == 0)
        assert (spread(smoothed, place, images) < 1 + 1e-9) == (strength == 1)
