"""A network's outline: all of its layers and shapes, with no memory for weights and none drawn.

timm's constructors draw initial weights, which on torch's meta device compute nothing and still take nine tenths of the
time: for 300 architectures that is a minute and a half.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_DRAWS = frozenset(
    {
        *("normal_", "uniform_", "trunc_normal_", "erfinv_", "clamp_", "mul_", "add_", "sub_", "div_"),
        *("zero_", "fill_", "zeros_", "ones_", "constant_"),
        *("kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_"),
    }
)
"""Functions that initial weights are drawn with: they change a tensor in place, which on the meta device is nothing."""

_READS = (Tensor.item, Tensor.tolist)
"""Methods that read numbers off a tensor, of which the meta device has none."""


class _Undrawn(TorchFunctionMode):
    """Leaves out what draws initial weights, and reads numbers off tensors without memory.

    timm before 1.0.21 computes the rates of stochastic depth as a tensor, which has nothing to do with shapes; the
    numbers that it reads off are zeros here.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__name__", "") in _DRAWS:
            return args[0] if args else (kwargs or {})["tensor"]
        if func in _READS and args[0].is_meta:
            return func(torch.zeros(args[0].shape, device="cpu"))
        return func(*args, **(kwargs or {}))


@contextmanager
def outlines() -> Iterator[None]:
    """Make everything that is built inside the `with` block an outline."""
    with torch.device("meta"), _Undrawn():
        yield


def outline(architecture: str, **arguments: Any) -> nn.Module:
    """Build the outline of an architecture of timm without a head.

    Args:
        architecture: timm's name.
        arguments: Constructor arguments.

    Raises:
        Exception: Whatever timm raises for arguments that the architecture does not take.
    """
    with outlines():
        model: nn.Module = timm.create_model(architecture, num_classes=0, **arguments)
    return model.requires_grad_(False).eval()
