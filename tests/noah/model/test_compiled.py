"""Compiled blocks give the logits and the gradients of the others, and few of them do for all subnets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from noah.errors import BackboneError
from noah.model.compiled import CompiledForward
from noah.model.supernet import Supernet
from noah.model.supernet_block import _drop_path
from noah.space.subnet import Subnet
from noah.training.step import Step
from tests.noah.architectures import images_for, make_supernet, relative
from tests.noah.tiny_training import CPU, SPACE, run_training, same_bits, settings, tiny_supernet

pytestmark = pytest.mark.usefixtures("one_thread")

# Prompts that are replaced, that are carried on, that begin late or end early; modules with gaps, and none at all.
SUBNETS = (
    Subnet(prompt=[4, 2, 1, 3], lora=[3, 0, 1, 0], adapter=[0, 5, 0, 2]),
    Subnet(prompt=[0, 2, 0, 0], lora=[0, 0, 3, 3], adapter=[5, 5, 5, 5]),
    Subnet(prompt=[1, 0, 4, 0], lora=[1, 2, 0, 0], adapter=[1, 0, 0, 0]),
    Subnet.uniform(4),
)


def gradients(
    supernet: Supernet, forward: Callable[[Tensor, Subnet], Tensor], images: Tensor, subnet: Subnet
) -> dict[str, Tensor]:
    """Logits, under the empty name, and the gradients of their weighted sum."""
    supernet.zero_grad(set_to_none=True)
    logits = forward(images, subnet)
    (logits * torch.arange(logits.numel()).reshape(logits.shape)).sum().backward()
    if isinstance(forward, CompiledForward):
        forward.drop_gradients_of_unused([subnet])
    found = {name: value.grad.clone() for name, value in supernet.named_parameters() if value.grad is not None}
    return {"": logits.detach(), **found}


@pytest.mark.parametrize(
    ("kind", "checkpointing"),
    [
        ("LayerScale", False),
        pytest.param("query and key norm, average pooling", False, marks=pytest.mark.slow),
        pytest.param("registers", True, marks=pytest.mark.slow),
        pytest.param("DINOv3, class token", False, marks=pytest.mark.slow),
        pytest.param("EVA-02 with three projections", False, marks=pytest.mark.slow),
        pytest.param("BEiT", False, marks=pytest.mark.slow),
        pytest.param("parallel blocks", False, marks=pytest.mark.slow),
        pytest.param("attention pooling", False, marks=pytest.mark.slow),
    ],
)
def test_logits_and_gradients_are_those_of_the_supernet(kind: str, checkpointing: bool) -> None:
    supernet = make_supernet(kind).train()
    supernet.activation_checkpointing = checkpointing
    compiled = CompiledForward(supernet, backend="eager")
    images = images_for(supernet.backbone)
    for subnet in SUBNETS:
        expected = gradients(supernet, supernet, images, subnet)
        found = gradients(supernet, compiled, images, subnet)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert relative(found[name], value) < 1e-9 or (found[name] - value).abs().max() < 1e-12, name


@pytest.mark.slow
def test_seven_kinds_of_blocks_do_for_all_subnets_and_batch_sizes() -> None:
    graphs = 0

    def counting(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        nonlocal graphs
        graphs += 1
        return graph.forward

    supernet = make_supernet("LayerScale").train()
    compiled = CompiledForward(supernet, backend=counting)
    rng = np.random.default_rng(0)

    def run(count: int, size: int) -> None:
        for _ in range(count):
            widths = {name: rng.integers(0, most + 1, 4) for name, most in (("prompt", 4), ("lora", 3), ("adapter", 5))}
            for each in widths.values():
                each[rng.integers(0, 5) :] = 0
            subnet = Subnet(**{name: each.tolist() for name, each in widths.items()})
            compiled(torch.randn(size, 3, 32, 32, dtype=torch.float64), subnet)

    run(30, 3)
    run(30, 2)
    known = graphs
    assert known <= 4 * 7  # with one batch size, and with any; with and without gradients of a block's input
    run(10, 5)
    run(10, 2)
    assert graphs == known


@pytest.mark.slow
def test_a_training_is_that_of_the_supernet(tiny_backbone_file: Path, tmp_path: Path) -> None:
    losses = {}
    for compiled in (False, True):
        supernet = tiny_supernet(tiny_backbone_file, dropout=0.0, drop_path=0.0)
        hardware = replace(CPU, compiled=compiled)
        losses[compiled] = run_training(
            supernet, tmp_path / str(compiled), settings(epochs=1), draw=lambda _: SPACE.largest, hardware=hardware
        )
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)


def test_what_a_step_s_subnets_lack_stays_where_it_is(tiny_backbone_file: Path) -> None:
    supernet = tiny_supernet(tiny_backbone_file).train()
    before = {name: value.clone() for name, value in supernet.trainable_state().items()}
    step = Step(supernet, CPU, compiled=CompiledForward(supernet, backend="eager"))
    optimizer = torch.optim.AdamW([p for p in supernet.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    step.add_gradients(torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]), (Subnet.uniform(6, lora=2),))
    optimizer.step()
    unused = {name for name in before if name.startswith(("adapters", "prompts"))}
    after = supernet.trainable_state()
    assert same_bits({name: before[name] for name in unused}, {name: after[name] for name in unused})
    assert not torch.equal(before["loras.0.b"], after["loras.0.b"])


def test_stochastic_depth_of_a_rate_in_a_tensor() -> None:
    torch.manual_seed(0)
    branch = torch.ones(4000, 2, 3)
    dropped = _drop_path(branch, torch.tensor(0.2), True)
    kept = dropped[:, 0, 0] > 0
    assert torch.equal(dropped, torch.where(kept, 1 / 0.8, 0.0).reshape(-1, 1, 1).expand(-1, 2, 3))
    assert kept.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert _drop_path(branch, torch.tensor(0.2), False) is branch


def test_a_compiler_that_fails_is_told_with_the_way_round_it(tiny_backbone_file: Path) -> None:
    def failing(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        raise RuntimeError("no compiler here")

    supernet = tiny_supernet(tiny_backbone_file)
    with pytest.raises(BackboneError, match="no compiler here") as caught:
        CompiledForward(supernet, backend=failing)(torch.randn(1, 3, 32, 32), SPACE.largest)
    assert "--set hardware.compile=false" in caught.value.hint
