"""One contract for all three modules, and what is particular to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from noah.model.modules import Adapter, LoRA, Prompt, quick_gelu
from noah.space.subnet import module_parameters

D, LARGEST = 12, 6
MAKE: dict[str, Callable[..., Any]] = {
    "prompt": lambda width=LARGEST, dropout=0.0: Prompt(D, width, 48, dropout),
    "lora": lambda width=LARGEST, dropout=0.0: LoRA(D, width, dropout),
    "adapter": lambda width=LARGEST, dropout=0.0: Adapter(D, width, dropout),
}
CALL: dict[str, Callable[..., torch.Tensor]] = {
    "prompt": lambda module, width, x: module(width),
    "lora": lambda module, width, x: module(x, width),
    "adapter": lambda module, width, x: module(x, width),
}
kinds = pytest.mark.parametrize("kind", MAKE)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(2, 5, D, generator=torch.Generator().manual_seed(0))


def random_module(kind: str, **options: Any) -> nn.Module:
    torch.manual_seed(1)
    module: nn.Module = MAKE[kind](**options)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.eval()


@kinds
@pytest.mark.parametrize("width", [1, 3, LARGEST])
def test_a_smaller_width_is_a_smaller_module_with_the_first_rows(kind: str, width: int, x: torch.Tensor) -> None:
    module, smaller = random_module(kind), MAKE[kind](width).eval()
    state = module.state_dict()
    smaller.load_state_dict(
        {name: state[name][tuple(map(slice, value.shape))] for name, value in smaller.state_dict().items()}
    )
    assert torch.equal(CALL[kind](module, width, x), CALL[kind](smaller, width, x))


@kinds
def test_a_call_leaves_no_trace(kind: str, x: torch.Tensor) -> None:
    module = random_module(kind)
    first = CALL[kind](module, LARGEST, x)
    CALL[kind](module, 1, x)
    assert torch.equal(CALL[kind](module, LARGEST, x), first)


@kinds
def test_the_size_is_the_price(kind: str) -> None:
    for width in (0, 1, LARGEST):
        assert sum(p.numel() for p in MAKE[kind](width).parameters()) == module_parameters(kind, width, D)


@kinds
def test_only_the_rows_in_use_get_gradients(kind: str, x: torch.Tensor) -> None:
    module = random_module(kind)
    CALL[kind](module, 2, x).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        if name == "up_bias":
            continue
        axis = 1 if name in ("b", "up") else 0
        used, unused = parameter.grad.split([2, parameter.shape[axis] - 2], dim=axis)
        assert used.any()
        assert not unused.any()


@kinds
def test_dropout_acts_in_training_only(kind: str, x: torch.Tensor) -> None:
    module = random_module(kind, dropout=0.5)
    assert torch.equal(CALL[kind](module, LARGEST, x), CALL[kind](module, LARGEST, x))
    module.train()
    assert not torch.equal(CALL[kind](module, LARGEST, x), CALL[kind](module, LARGEST, x))


@kinds
def test_seed_decides_the_start(kind: str) -> None:
    def start() -> list[torch.Tensor]:
        torch.manual_seed(3)
        return list(MAKE[kind]().parameters())

    assert all(torch.equal(a, b) for a, b in zip(start(), start(), strict=True))


@pytest.mark.parametrize("kind", ["lora", "adapter"])
def test_the_start_adds_nothing(kind: str, x: torch.Tensor) -> None:
    assert not CALL[kind](MAKE[kind](), LARGEST, x).any()


def test_lora_as_a_matrix_and_by_rows(x: torch.Tensor) -> None:
    lora = random_module("lora")
    assert isinstance(lora, LoRA)
    torch.testing.assert_close(lora(x, 3), x @ lora.weight(3).T)
    torch.testing.assert_close(lora(x, 3, slice(D, 3 * D)), lora(x, 3)[..., D:])


def test_prompt_copies_and_range() -> None:
    prompt = Prompt(D, LARGEST, 48)
    limit = (6 / (48 + D)) ** 0.5
    assert prompt.tokens.abs().max() <= limit
    assert prompt.tokens.abs().max() > limit / 2
    assert prompt(3, 4).shape == (4, 3, D)


def test_quick_gelu_is_near_gelu() -> None:
    z = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(quick_gelu(z), nn.functional.gelu(z), atol=0.03, rtol=0)
