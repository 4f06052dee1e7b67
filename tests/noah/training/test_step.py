"""However a batch is cut, its gradients are those of the batch in one piece."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noah.hardware.device import Hardware
from noah.hardware.processes import Processes
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet
from noah.training.step import Step
from tests.noah.architectures import relative
from tests.noah.tiny_training import CPU, SPACE, run_training, settings, seven_images, tiny_supernet, trained_supernet

pytestmark = pytest.mark.usefixtures("one_thread")

LABELS = torch.tensor([0, 1, 2, 2, 0, 1, 1])
MIXED = 0.3 * F.one_hot(LABELS, 3).float() + 0.7 * F.one_hot(LABELS.flip(0), 3)
WEIGHTS = torch.tensor([0.2, 1.0, 5.0])
SANDWICH = (SPACE.largest, SPACE.smallest, Subnet.uniform(6, lora=1, adapter=2))


@pytest.fixture
def supernet(tiny_backbone_file: Path) -> Supernet:
    return trained_supernet(tiny_backbone_file)


def gradients(supernet: Supernet, step: Step, targets: Tensor, subnets: tuple[Subnet, ...]) -> dict[str, Tensor]:
    supernet.zero_grad(set_to_none=True)
    step.add_gradients(seven_images(), targets, subnets)
    return {name: value.grad for name, value in supernet.named_parameters() if value.grad is not None}


@pytest.mark.parametrize("parts", [2, 3, 7, 20])
@pytest.mark.parametrize("subnets", [SANDWICH[2:], SANDWICH], ids=["one subnet", "sandwich"])
@pytest.mark.parametrize(
    ("targets", "weights", "smoothing"),
    [(LABELS, None, 0.0), (LABELS, WEIGHTS, 0.1), (MIXED, WEIGHTS, 0.1), (MIXED, None, 0.1)],
)
def test_gradients_of_the_parts_add_up(
    supernet: Supernet,
    targets: Tensor,
    weights: Tensor | None,
    smoothing: float,
    subnets: tuple[Subnet, ...],
    parts: int,
) -> None:
    """A subnet after the first learns from what the first says of the same part, so its own loss adds up too."""
    whole = gradients(supernet, Step(supernet, CPU, 1, weights, smoothing), targets, subnets)
    cut = gradients(supernet, Step(supernet, CPU, parts, weights, smoothing), targets, subnets)
    assert whole.keys() == cut.keys()
    for name, gradient in whole.items():
        assert relative(cut[name], gradient) < 1e-5, name


@pytest.mark.parametrize("count", [2, 3, 9])
def test_the_shares_of_several_processes_add_up(supernet: Supernet, count: int) -> None:
    """What the processes would exchange, added up here: one of nine has no image at all."""
    loss = Step(supernet, CPU, 1, WEIGHTS, 0.1).add_gradients(seven_images(), LABELS, SANDWICH)
    whole = gradients(supernet, Step(supernet, CPU, 1, WEIGHTS, 0.1), LABELS, SANDWICH)
    supernet.zero_grad(set_to_none=True)
    total = torch.zeros(())
    for rank in range(count):
        processes = _Unconnected(rank, count, rank)
        step = Step(supernet, Hardware(CPU.device, "fp32", 1, (), processes), 2, WEIGHTS, 0.1)
        own = range(7)[slice(rank * 7 // count, (rank + 1) * 7 // count)]
        total = total + step.add_gradients(seven_images()[own.start : own.stop], LABELS, SANDWICH)
    torch.testing.assert_close(total.double(), loss.double(), rtol=1e-6, atol=0)
    for name, parameter in supernet.named_parameters():
        assert (parameter.grad is None) == (name not in whole)
        if parameter.grad is not None:
            assert relative(parameter.grad, whole[name]) < 1e-5, name


class _Unconnected(Processes):
    """Exchanges nothing; gradients that stay where they are add up by themselves in one process."""

    def add_up(self, tensors: object) -> None:
        pass


@pytest.mark.parametrize("subnets", [SANDWICH[:1], SANDWICH])
def test_checkpointed_activations_give_the_same_gradients_with_dropout(
    tiny_backbone_file: Path, subnets: tuple[Subnet, ...]
) -> None:
    found = []
    for checkpointing in (False, True):
        model = tiny_supernet(tiny_backbone_file, dropout=0.3, drop_path=0.3).train()
        model.activation_checkpointing = checkpointing
        torch.manual_seed(5)
        loss = Step(model, CPU).add_gradients(seven_images().float(), LABELS, subnets)
        found.append((loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (loss, plain), (same, recomputed) = found
    assert torch.equal(loss, same)
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-5, atol=1e-8)


def test_checkpointed_activations_are_not_kept(tiny_backbone_file: Path) -> None:
    kept = {}
    for checkpointing in (False, True):
        model = tiny_supernet(tiny_backbone_file).train()
        model.activation_checkpointing = checkpointing
        sizes: list[int] = []

        def pack(tensor: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(tensor.numel() * (not tensor.is_leaf))
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model(seven_images().float(), SPACE.largest)
        kept[checkpointing] = sum(sizes)
    assert kept[True] < 0.2 * kept[False]


@pytest.mark.parametrize("changes", [{"accumulation": 3}, {"activation_checkpointing": True}])
def test_a_training_takes_the_settings_and_stays_where_it_was(
    tiny_backbone_file: Path, tmp_path: Path, changes: dict[str, object]
) -> None:
    expected = run_training(
        tiny_supernet(tiny_backbone_file, dropout=0.0, drop_path=0.0), tmp_path / "whole.safetensors", settings()
    )
    model = tiny_supernet(tiny_backbone_file, dropout=0.0, drop_path=0.0)
    model.activation_checkpointing = bool(changes.get("activation_checkpointing"))
    seen: list[int] = []
    hook = model.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    losses = run_training(model, tmp_path / "cut.safetensors", settings(**changes))
    hook.remove()
    assert losses == pytest.approx(expected, rel=1e-4)
    assert set(seen) == ({2, 3} if "accumulation" in changes else {8})
