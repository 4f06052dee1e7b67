"""One contract for every kind of module that is registered, on every kind of backbone that the method covers."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.backbone.families.registry import sizes_of
from noah.model.kinds.build import BUILD
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.kinds import KINDS
from noah.space.subnet import Subnet
from tests.noah.architectures import ARCHITECTURES, images_for, make_backbone, make_supernet, relative
from tests.noah.plain import plain_forward

LARGEST = 4
BLOCKS = 4


def largest_of(kind: str) -> int:
    return 1 if KINDS[kind].is_switch else LARGEST


def everything(depth: int) -> Subnet:
    return Subnet.uniform(depth, **{kind: largest_of(kind) for kind in KINDS})


@st.composite
def widths_of_blocks(draw: st.DrawFn) -> dict[str, list[int]]:
    """Widths of any of the kinds in four blocks."""
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, unique=True))
    return {kind: draw(st.lists(st.integers(0, largest_of(kind)), min_size=4, max_size=4)) for kind in kinds}


def subnet_of(widths: Mapping[str, list[int]], depth: int) -> Subnet:
    return Subnet(**{kind: row[:depth] for kind, row in widths.items()})


def test_every_kind_can_be_built() -> None:
    assert list(BUILD) == list(KINDS)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(widths_of_blocks())
@settings(max_examples=12)
def test_definition_supernet_and_merge_agree(architecture: str, widths: Mapping[str, list[int]]) -> None:
    supernet = supernet_of(architecture)
    subnet, images = subnet_of(widths, supernet.largest.depth), images_for(supernet.backbone)
    with torch.no_grad():
        expected = plain_forward(supernet, images, subnet)
        assert relative(supernet(images, subnet), expected) < 1e-9
        assert relative(merge(supernet, subnet)(images), expected) < 1e-9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strength", [0.3, 2.5])
def test_a_strength_folds_too(kind: str, strength: float) -> None:
    full = supernet_of("LayerScale")
    images = images_for(full.backbone)
    supernet = Supernet(full.backbone, full.largest, strengths={kind: strength}).eval()
    supernet.load_trainable_state(full.trainable_state())
    subnet = Subnet.uniform(BLOCKS, **{"lora": 2, kind: 1})
    with torch.no_grad():
        expected = plain_forward(supernet, images, subnet)
        assert relative(supernet(images, subnet), expected) < 1e-9
        assert relative(merge(supernet, subnet)(images), expected) < 1e-9
        # At full strength it is another network, though norms take off most of a prompt's strength.
        assert relative(full(images, subnet), expected) > (1e-7 if kind == "prompt" else 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_alone_agrees_at_every_width_and_changes_the_network(kind: str) -> None:
    supernet = supernet_of("LayerScale")
    images = images_for(supernet.backbone)
    with torch.no_grad():
        plain = supernet(images, Subnet.uniform(BLOCKS))
        for width in range(1, largest_of(kind) + 1):
            subnet = Subnet.uniform(BLOCKS, **{kind: width})
            expected = plain_forward(supernet, images, subnet)
            assert relative(supernet(images, subnet), expected) < 1e-9
            assert relative(merge(supernet, subnet)(images), expected) < 1e-9
            assert relative(plain, expected) > 1e-4


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.starts_as_identity])
def test_a_fresh_module_changes_nothing(kind: str, architecture: str) -> None:
    backbone = make_backbone(architecture)
    depth = len(backbone.blocks)
    images = images_for(backbone)
    subnet = Subnet.uniform(depth, **{kind: largest_of(kind)})
    with torch.no_grad():
        assert relative(Supernet(backbone, subnet).eval()(images, subnet), backbone(images)) < 1e-12


@pytest.mark.parametrize(
    "architecture",
    [
        "class token",
        "SwiGLU and RMS norm",
        "no biases",
        "query and key norm",
        "gated attention",
        "parallel blocks",
        "EVA-02",
        "EVA-02 with three projections",
        "RoPE-ViT, mixed",
        "Sapiens2",
        "BEiT",
        "relative positions",
        "distilled",
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_price_is_the_number_of_parameters(kind: str, architecture: str) -> None:
    backbone = make_backbone(architecture)
    sizes = sizes_of(backbone)
    for width in range(1, largest_of(kind) + 1):
        subnet = Subnet.uniform(len(backbone.blocks), **{kind: width})
        supernet = Supernet(backbone, subnet)
        built = sum(p.numel() for name, p in supernet.named_parameters() if not name.startswith(("backbone.", "head.")))
        assert subnet.parameter_count(sizes) == built


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.folds])
def test_what_folds_leaves_the_plain_network(kind: str) -> None:
    supernet = supernet_of("LayerScale")
    with_module = merge(supernet, Subnet.uniform(BLOCKS, **{kind: 1}))
    without = merge(supernet, Subnet.uniform(BLOCKS))
    shapes = {name: value.shape for name, value in without.state_dict().items()}
    assert {name: value.shape for name, value in with_module.state_dict().items()} == shapes


_SUPERNETS: dict[str, Supernet] = {}


def supernet_of(architecture: str) -> Supernet:
    """A supernet with random modules of every kind, made once."""
    if architecture not in _SUPERNETS:
        depth = len(make_backbone(architecture).blocks)
        _SUPERNETS[architecture] = make_supernet(architecture, largest=everything(depth))
    return _SUPERNETS[architecture]
