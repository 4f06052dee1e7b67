"""What a race says of a subnet is what its merged network says, whatever was kept of earlier ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from noah.data.pixels.pixels import Pixels
from noah.evaluation.score import compute_logits
from noah.hardware.device import Hardware, Precision
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.nas import candidate_evaluation
from noah.nas.candidate_evaluation import candidate_logits, showing, smallest_batch, validation_tokens
from noah.nas.racing import look_at
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, seed_torch
from noah.progress import Silent
from noah.space.operators import sample
from noah.space.search_space import make_space
from noah.space.subnet import Subnet
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGES = np.array([3, 17, 0, 9, 8])


@pytest.fixture(scope="module")
def materials(tiny_settings: TinySettings) -> Materials:
    threads = torch.get_num_threads()
    made = make_materials(tiny_settings())
    torch.set_num_threads(threads)
    return made


@pytest.fixture(scope="module")
def supernet(materials: Materials) -> Supernet:
    seed_torch(3)
    made = build_supernet(materials, materials.space.largest, materials.settings.supernet)
    for parameter in made.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.2)
    return made.eval()


@pytest.fixture(scope="module")
def validation(materials: Materials) -> Pixels:
    return materials.pixels(materials.dataset.validation, "validation", Silent())


@pytest.fixture(scope="module")
def subnets(materials: Materials) -> list[Subnet]:
    rng = np.random.default_rng(0)
    return [sample(materials.space, rng) for _ in range(4)]


def hardware(precision: Precision) -> Hardware:
    return Hardware(torch.device("cpu"), precision, 1, ())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_are_those_of_the_merged_network(
    precision: Precision, supernet: Supernet, materials: Materials, validation: Pixels, subnets: list[Subnet]
) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    preprocessing = materials.backbone.preprocessing
    ask = candidate_logits(supernet, validation, preprocessing, hardware(precision), 2)
    show = showing(ask, validation.labels)
    for subnet in [*subnets, *subnets[:2]]:
        # By autocast, which rounds each matrix anew in every forward pass.
        expected = compute_logits(
            merge(supernet, subnet), validation, preprocessing, hardware(precision), 2, chosen=IMAGES
        )
        assert np.array_equal(ask(subnet, IMAGES), expected)
        assert show(subnet, IMAGES) == look_at(IMAGES, validation.labels[IMAGES], expected)
    after = supernet.state_dict()
    assert all(after[name].dtype == value.dtype and torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_blocks_that_no_candidate_has_a_module_in_are_computed_once(
    precision: Precision, materials: Materials, validation: Pixels
) -> None:
    depth = materials.space.blocks
    space = make_space(depth, materials.space.sizes, {"prompt": (1, 2), "lora": (2,), "bias": (1,)}, (0, 1, 2), "last")
    with torch.random.fork_rng(devices=[]):
        seed_torch(3)
        supernet = build_supernet(materials, space.largest, materials.settings.supernet).eval()
    preprocessing, rng = materials.backbone.preprocessing, np.random.default_rng(0)
    kept = validation_tokens(supernet, validation, preprocessing, hardware(precision), 4, None)
    assert kept is not None
    assert kept.blocks == depth - 2
    ask = candidate_logits(supernet, validation, preprocessing, hardware(precision), 2, kept)
    whole = candidate_logits(supernet, validation, preprocessing, hardware(precision), 2)
    for subnet in [sample(space, rng) for _ in range(5)]:
        # Some processors sum up a batch of four otherwise than one of two, which are those of `kept` and of the others.
        assert np.allclose(ask(subnet, IMAGES), whole(subnet, IMAGES), rtol=0, atol=1e-6)


def test_without_such_blocks_nothing_is_kept(supernet: Supernet, materials: Materials, validation: Pixels) -> None:
    preprocessing = materials.backbone.preprocessing
    assert validation_tokens(supernet, validation, preprocessing, hardware("fp32"), 4, None) is None


def test_bf16_is_another_precision(
    supernet: Supernet, materials: Materials, validation: Pixels, subnets: list[Subnet]
) -> None:
    exact, rounded = (
        candidate_logits(supernet, validation, materials.backbone.preprocessing, hardware(precision), 8)(
            subnets[0], IMAGES
        )
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()


def test_networks_that_were_used_last_are_kept(
    supernet: Supernet,
    materials: Materials,
    validation: Pixels,
    subnets: list[Subnet],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    merged: list[Subnet] = []
    monkeypatch.setattr(
        candidate_evaluation, "merge", lambda model, subnet: merged.append(subnet) or merge(model, subnet)
    )
    monkeypatch.setattr(candidate_evaluation, "_KEPT_BYTES", 1)  # of two networks at the least
    ask = candidate_logits(supernet, validation, materials.backbone.preprocessing, hardware("fp32"), 8)
    first, second, third, _ = subnets
    for subnet in (first, first, second, first, third, first, second):
        ask(subnet, IMAGES)
    assert merged == [first, second, third, second]


@pytest.mark.parametrize(("device", "batch_size", "smallest"), [("cpu", 64, 8), ("cpu", 4, 4), ("cuda", 64, 64)])
def test_the_smallest_batch(device: str, batch_size: int, smallest: int) -> None:
    assert smallest_batch(Hardware(torch.device(device), "fp32", 1, ()), batch_size) == smallest
