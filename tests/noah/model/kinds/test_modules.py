"""One contract for the modules of all kinds, by themselves, and what is particular to some."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from noah.backbone.families.plain import view_block
from noah.backbone.view import QKV
from noah.model.kinds.bottleneck import AdapterPlus, QuickGELU
from noah.model.kinds.build import BUILD, Place
from noah.model.kinds.low_rank import LoRA
from noah.model.kinds.module import KindModule, Width
from noah.model.kinds.prompt import Prompt
from noah.space.kinds import KINDS, price

D, WIDEST = 12, 6
VIEW = view_block(Block(D, num_heads=3, qkv_bias=True).requires_grad_(False).eval())
ALL = slice(None)
kinds = pytest.mark.parametrize("kind", KINDS)


def largest_of(kind: str) -> int:
    return 1 if KINDS[kind].is_switch else WIDEST


def make(kind: str, width: int | None = None, dropout: float = 0.0) -> KindModule:
    return BUILD[kind](Place(VIEW, 48, dropout), largest_of(kind) if width is None else width)


def effects(module: KindModule, width: Width) -> Tensor:
    """Everything that a module does to a block, one after the other."""
    if isinstance(module, Prompt):
        assert isinstance(width, int)
        return module(width).flatten()
    generator = torch.Generator().manual_seed(0)
    found = []
    for name, layer in VIEW.layers.items():
        h = torch.randn(2, 5, layer.in_features, generator=generator)
        y = torch.randn(2, 5, layer.out_features, generator=generator)
        added = module.beside(name, h, width, ALL)
        found += [module.before(name, h, width) - h, module.after(name, y, width, ALL) - y]
        found += [] if added is None else [added]
    if module.remains:
        found.append(module.behind(torch.randn(2, 5, D, generator=generator), width))
    return torch.cat([effect.flatten() for effect in found])


def random_module(kind: str, width: int | None = None, dropout: float = 0.0) -> KindModule:
    torch.manual_seed(1)
    module = make(kind, width, dropout)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.eval()


@kinds
@pytest.mark.parametrize("width", [1, 3, WIDEST])
def test_a_smaller_width_is_a_smaller_module_with_the_first_rows(kind: str, width: int) -> None:
    width = min(width, largest_of(kind))
    module, smaller = random_module(kind), make(kind, width).eval()
    state = module.state_dict()
    smaller.load_state_dict(
        {name: state[name][tuple(map(slice, value.shape))] for name, value in smaller.state_dict().items()}
    )
    assert torch.equal(effects(module, width), effects(smaller, width))


@kinds
def test_a_call_leaves_no_trace(kind: str) -> None:
    module = random_module(kind)
    first = effects(module, largest_of(kind))
    effects(module, 1)
    assert torch.equal(effects(module, largest_of(kind)), first)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "prompt"])
def test_a_mask_is_the_width(kind: str) -> None:
    module = random_module(kind)
    for width in range(1, largest_of(kind) + 1):
        mask = (torch.arange(largest_of(kind)) < width).float()
        torch.testing.assert_close(effects(module, mask), effects(module, width))
    assert not effects(module, torch.zeros(largest_of(kind))).any()


@kinds
def test_the_size_is_the_price(kind: str) -> None:
    for width in (0, 1, largest_of(kind)):
        assert sum(p.numel() for p in make(kind, width).parameters()) == price(kind, width, VIEW.sizes)


@kinds
def test_only_what_is_in_use_gets_gradients(kind: str) -> None:
    module = random_module(kind)
    used = min(2, largest_of(kind))
    effects(module, used).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        rows = [axis for axis, size in enumerate(parameter.shape) if size == largest_of(kind) == WIDEST]
        for axis in rows:
            assert not parameter.grad.narrow(axis, used, WIDEST - used).any(), name


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not KINDS[kind].is_switch])
def test_dropout_acts_in_training_only(kind: str) -> None:
    module = random_module(kind, dropout=0.5)
    assert torch.equal(effects(module, WIDEST), effects(module, WIDEST))
    module.train()
    assert not torch.equal(effects(module, WIDEST), effects(module, WIDEST))


@kinds
def test_seed_decides_the_start(kind: str) -> None:
    def start() -> list[Tensor]:
        torch.manual_seed(3)
        return list(make(kind).parameters())

    assert all(torch.equal(a, b) for a, b in zip(start(), start(), strict=True))


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.starts_as_identity])
def test_the_start_adds_nothing(kind: str) -> None:
    assert not effects(make(kind), largest_of(kind)).any()


def test_lora_as_a_matrix_and_by_rows() -> None:
    lora = random_module("lora")
    assert isinstance(lora, LoRA)
    x = torch.randn(2, 5, D)
    torch.testing.assert_close(lora(x, 3), x @ lora.weight(3).T)
    torch.testing.assert_close(lora.beside(QKV, x, 3, slice(D, 3 * D)), lora(x, 3)[..., D:])


def test_prompt_copies_and_range() -> None:
    prompt = make("prompt")
    assert isinstance(prompt, Prompt)
    limit = (6 / (48 + D)) ** 0.5
    assert prompt.tokens.abs().max() <= limit
    assert prompt.tokens.abs().max() > limit / 2
    assert prompt(3, 4).shape == (4, 3, D)


def test_adapter_plus_starts_small_and_at_full_scale() -> None:
    torch.manual_seed(0)
    module = AdapterPlus(400, 50)
    assert torch.equal(module.scale, torch.ones(400))
    for weight in (module.down, module.up):
        assert float(weight.detach().std()) == pytest.approx(0.01, rel=0.05)
    assert not module.up_bias.any()


@pytest.mark.parametrize("bend", [QuickGELU()])
def test_quick_gelu_is_near_gelu(bend: Callable[[Tensor], Tensor]) -> None:
    z = torch.linspace(-5, 5, 101)
    torch.testing.assert_close(bend(z), nn.functional.gelu(z), atol=0.03, rtol=0)
