from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from noah.training.loss import cross_entropy, share_of_loss

WEIGHTS = torch.tensor([0.2, 1.0, 5.0], dtype=torch.float64)
LABELS = torch.arange(10) % 3
MIXED = 0.3 * F.one_hot(LABELS, 3).double() + 0.7 * F.one_hot(LABELS.flip(0), 3)
LOGITS = torch.randn(10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("targets", [LABELS, MIXED], ids=["labels", "mixed"])
def test_the_parts_shares_add_up_to_the_loss_of_the_batch(
    targets: torch.Tensor, weights: torch.Tensor | None, smoothing: float
) -> None:
    whole = cross_entropy(LOGITS, targets, weights, smoothing)
    parts = [slice(0, 1), slice(1, 7), slice(7, 10)]
    total = sum(
        cross_entropy(LOGITS[part], targets[part], weights, smoothing) * share_of_loss(targets[part], targets, weights)
        for part in parts
    )
    torch.testing.assert_close(total, whole, rtol=1e-12, atol=0)
    assert share_of_loss(targets, targets, weights) == 1
