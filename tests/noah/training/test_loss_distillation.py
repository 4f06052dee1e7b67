from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from noah.model.supernet import Supernet
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.training.loss import add_gradients, cross_entropy
from tests.noah.tiny_training import SPACE, tiny_supernet

pytestmark = pytest.mark.usefixtures("one_thread")

LARGEST, SMALLEST = SPACE.largest, SPACE.smallest
SANDWICH = (LARGEST, SMALLEST, *(sample(SPACE, np.random.default_rng(number)) for number in range(2)))
LABELS = torch.arange(8) % 3
MIXED = 0.3 * F.one_hot(LABELS, 3).double() + 0.7 * F.one_hot(LABELS.flip(0), 3)
WEIGHTS = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)


@pytest.fixture
def supernet(tiny_backbone_file: Path) -> Supernet:
    """In float64, every trained weight away from its start, so that every gradient is there."""
    model = tiny_supernet(tiny_backbone_file, dropout=0.0, drop_path=0.0).double().train()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in trainable(model).values():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def trainable(supernet: Supernet) -> dict[str, Tensor]:
    return {name: value for name, value in supernet.named_parameters() if value.requires_grad and value.numel()}


def step_gradients(supernet: Supernet, images: Tensor, subnets: tuple[Subnet, ...]) -> tuple[dict[str, Tensor], Tensor]:
    supernet.zero_grad(set_to_none=True)
    loss = add_gradients(lambda subnet: supernet(images, subnet), subnets, plain_loss, torch.Tensor.backward)
    return {name: value.grad for name, value in trainable(supernet).items() if value.grad is not None}, loss


def plain_loss(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, LABELS)


@pytest.mark.parametrize(
    ("targets", "weights", "smoothing"), [(LABELS, None, 0.0), (LABELS, WEIGHTS, 0.1), (MIXED, WEIGHTS, 0.1)]
)
def test_the_gradient_is_the_sum_of_the_subnets_gradients(
    supernet: Supernet, images: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float
) -> None:
    """Each part by itself, with the students' loss written out; labels, weights and smoothing reach the first alone."""
    parameters = trainable(supernet)

    def label_loss(logits: Tensor) -> Tensor:
        return cross_entropy(logits, targets, weights, smoothing)

    expected = {name: torch.zeros_like(value) for name, value in parameters.items()}
    with torch.no_grad():
        predictions = supernet(images, LARGEST).softmax(dim=1)
    for subnet in SANDWICH:
        logits = supernet(images, subnet)
        learned = -(predictions * logits.log_softmax(dim=1)).sum(dim=1).mean()
        loss = label_loss(logits) if subnet == LARGEST else learned
        parts = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for name, part in zip(parameters, parts, strict=True):
            expected[name] += 0 if part is None else part

    loss = add_gradients(lambda subnet: supernet(images, subnet), SANDWICH, label_loss, torch.Tensor.backward)
    for name, parameter in parameters.items():
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 1e-6
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(loss, label_loss(supernet(images, LARGEST)), rtol=1e-12, atol=0)
    assert not loss.requires_grad


def test_the_first_subnet_gets_no_gradient_from_the_others(supernet: Supernet, images: Tensor) -> None:
    """What only the largest subnet uses has, bit for bit, the gradient that it has without the others."""
    alone, _ = step_gradients(supernet, images, (LARGEST,))
    together, _ = step_gradients(supernet, images, (LARGEST, SMALLEST))
    for block, (prompt, rank, width) in enumerate(zip(SMALLEST.prompt, SMALLEST.lora, SMALLEST.adapter, strict=True)):
        for name, first in (
            (f"prompts.{block}.tokens", prompt),
            (f"loras.{block}.a", rank),
            (f"adapters.{block}.down", width),
        ):
            assert alone[name][first:].abs().max() > 1e-6
            assert torch.equal(alone[name][first:], together[name][first:])
            assert not first or not torch.allclose(alone[name][:first], together[name][:first])
    assert not torch.allclose(alone["head.weight"], together["head.weight"])


def test_a_subnet_that_predicts_what_the_first_predicts_has_nothing_to_learn(
    supernet: Supernet, images: Tensor
) -> None:
    alone, loss = step_gradients(supernet, images, (LARGEST,))
    twice, same = step_gradients(supernet, images, (LARGEST, LARGEST))
    for name, gradient in alone.items():
        torch.testing.assert_close(gradient, twice[name], rtol=0, atol=1e-12)
    assert torch.equal(loss, same)


def test_one_subnet_learns_the_labels_as_ever(supernet: Supernet, images: Tensor) -> None:
    gradients, loss = step_gradients(supernet, images, (SMALLEST,))
    supernet.zero_grad(set_to_none=True)
    expected = plain_loss(supernet(images, SMALLEST))
    expected.backward()
    assert torch.equal(loss, expected)
    for name, parameter in trainable(supernet).items():
        assert (parameter.grad is None) == (name not in gradients)
        assert parameter.grad is None or torch.equal(parameter.grad, gradients[name])


def test_every_backward_pass_follows_its_forward_pass(supernet: Supernet, images: Tensor) -> None:
    passes: list[object] = []

    def forward(subnet: Subnet) -> Tensor:
        passes.append(subnet)
        return supernet(images, subnet)

    def backward(loss: Tensor) -> None:
        passes.append("backward")
        loss.backward()

    add_gradients(forward, SANDWICH, plain_loss, backward)
    assert passes == [each for subnet in SANDWICH for each in (subnet, "backward")]


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_told_whosever_it_is(supernet: Supernet, images: Tensor, wrong: float) -> None:
    def forward(subnet: Subnet) -> Tensor:
        logits = supernet(images, subnet)
        return logits * wrong if subnet == SANDWICH[-1] else logits

    loss = add_gradients(forward, SANDWICH, plain_loss, torch.Tensor.backward)
    assert not torch.isfinite(loss)
