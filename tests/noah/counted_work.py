"""The work of a network as torch counts it while the network runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode, flop_registry, sdpa_flop_count


def _of_attention(query: Any, key: Any, value: Any, *_: object, **__: object) -> Any:
    """Operations of attention, given the shapes of its inputs."""
    return sdpa_flop_count(query, key, value)


_ON_CPU = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_MISSING: dict[Any, Any] = {} if _ON_CPU in flop_registry else {_ON_CPU: _of_attention}
"""torch up to 2.11 counts no attention on a CPU."""


def counted_macs(network: Callable[[Tensor], Any], images: Tensor) -> int:
    """Half the operations of all products, convolutions and attentions that torch sees in one call."""
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_MISSING) as counter:
        network(images)
    operations = counter.get_total_flops()
    assert operations % 2 == 0
    return operations // 2
