"""The two ways in which attention is computed agree."""

import pytest
import torch
from torch import nn

from noah.backbone.view import AttentionView
from noah.model.attention import attend


def heads(tokens: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(3, 2, tokens, 8, generator=generator, requires_grad=True)


@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 7), (6, 9)])
def test_bfloat16_on_the_cpu_agrees_with_float32_in_values_and_gradients(queries: int, keys: int) -> None:
    generator = torch.Generator().manual_seed(queries)
    inputs = [heads(tokens, generator) for tokens in (queries, keys, keys)]
    weights = torch.randn(3, queries, 16, generator=generator)
    none = nn.Identity()
    attention = AttentionView(2, 2, 0.35, none, none, none)
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            mixed = attend(attention, *inputs)
        results.append([mixed, *torch.autograd.grad((mixed.float() * weights).sum(), inputs)])
    exact, rounded = results
    assert rounded[0].dtype == torch.bfloat16
    for ours, theirs in zip(rounded, exact, strict=True):
        scale = theirs.abs().max()
        assert ours.shape == theirs.shape
        assert 0 < (ours.float() - theirs).abs().max() < 2e-2 * scale  # bfloat16 keeps 8 bits
