"""Dropout whose random numbers cost a CPU little."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_LEVELS = 2**16
"""Values of a 16-bit number; a rate is rounded to so many parts of 1."""


def apply_dropout(x: Tensor, rate: float, training: bool) -> Tensor:
    """Set a share `rate` of the numbers to zero at random and divide the others by what is left of 1, in training only.

    Like `torch.nn.functional.dropout`, which it is on a GPU and where it is compiled. On a CPU torch draws a whole
    random number for each of them, which takes most of the time (docs/performance.md). Here numpy draws 64 bits for
    four, from a seed of torch's own generator: so `torch.manual_seed` decides all, and a checkpoint of its state
    restores it.

    Args:
        x: Numbers of any shape.
        rate: At least 0 and below 1; on a CPU it is rounded to a multiple of 1 / 65,536.
        training: Nothing happens where it is False.
    """
    if not training or rate == 0:
        return x
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(x, rate)
    dropped = min(round(rate * _LEVELS), _LEVELS - 1)
    bits = np.random.SFC64(int(torch.randint(2**63 - 1, ()))).random_raw(math.ceil(x.numel() / 4))
    numbers = torch.from_numpy(bits.view(np.int16)[: x.numel()]).view(x.shape)
    # Compared into the type of `x`, so that the product needs no conversion.
    kept = torch.ge(numbers, dropped - _LEVELS // 2, out=torch.empty(x.shape, dtype=x.dtype))
    return x * kept.mul_(_LEVELS / (_LEVELS - dropped))
