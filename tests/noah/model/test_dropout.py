"""Dropout drops its share, keeps the mean, and is decided by torch's seed."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from noah.model.dropout import apply_dropout

RATES = [2**-20, 2**-16, 0.1, 0.5, 0.9]


def test_without_training_or_without_a_rate_nothing_happens() -> None:
    x = torch.randn(3, 5)
    assert apply_dropout(x, 0.5, False) is x
    assert apply_dropout(x, 0.0, True) is x


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_share_is_dropped_and_the_rest_makes_up_for_it(rate: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    count = 2**20
    dropped = apply_dropout(torch.ones(count, dtype=dtype), rate, True)
    assert dropped.dtype == dtype
    zero = int((dropped == 0).sum())
    assert abs(zero - rate * count) < 5 * math.sqrt(rate * (1 - rate) * count) + count * 2**-17
    kept = dropped[dropped != 0].double()
    assert torch.allclose(
        kept, torch.full_like(kept, 1 / (1 - rate)), rtol=torch.finfo(dtype).eps + 2**-16 / (1 - rate)
    )


@given(st.lists(st.integers(0, 5), max_size=3), st.floats(0.01, 0.95), st.integers(0, 2**32), st.booleans())
def test_shape_gradient_and_seed(shape: list[int], rate: float, seed: int, transposed: bool) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    x = (x.transpose(0, -1) if transposed and shape else x).requires_grad_()
    torch.manual_seed(seed)
    first = apply_dropout(x, rate, True)
    torch.manual_seed(seed)
    assert torch.equal(first, apply_dropout(x, rate, True))
    assert first.shape == x.shape
    first.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad * x, first)  # what was dropped has no gradient, and the rest has its factor


def test_neighbors_are_dropped_independently() -> None:
    torch.manual_seed(1)
    kept = (apply_dropout(torch.ones(2**20), 0.5, True) != 0).double() - 0.5
    for distance in (1, 2, 3, 4, 8, 384):
        correlation = 4 * float((kept[:-distance] * kept[distance:]).mean())
        assert abs(correlation) < 5 / math.sqrt(len(kept)), distance
    again = (apply_dropout(torch.ones(2**20), 0.5, True) != 0).double() - 0.5
    assert abs(4 * float((kept * again).mean())) < 5 / math.sqrt(len(kept))


def test_no_place_of_four_is_favored() -> None:
    torch.manual_seed(2)
    kept = (apply_dropout(torch.ones(2**20), 0.1, True) != 0).view(-1, 4).double().mean(0)
    assert torch.allclose(kept, torch.full((4,), 0.9, dtype=torch.float64), atol=5 * math.sqrt(0.09 / 2**18))


def test_elsewhere_it_is_torch_s_own() -> None:
    x = torch.ones(4, 3, device="meta")
    assert apply_dropout(x, 0.5, True).device.type == "meta"
    compiled = torch.compile(lambda x: apply_dropout(x, 0.5, True), backend="eager", fullgraph=True)
    torch.manual_seed(3)
    found = compiled(torch.ones(1000))
    torch.manual_seed(3)
    assert torch.equal(found, F.dropout(torch.ones(1000), 0.5))
