"""A supernet's blocks, compiled once for all subnets.

Each step of the supernet's training has another subnet and so other shapes, and a compiler would start over for each of
them. Here every module is computed at its largest width, and the parts that the subnet does not use are multiplied by
zero or hidden from attention. Blocks then differ only in where prompts come from and who reads them. There are at most
seven kinds, each of which is compiled the first time it occurs. Logits and gradients equal those of `Supernet.forward`
up to rounding; dropout draws other random numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed, TorchDynamoException
from torch.utils.checkpoint import checkpoint

from noah.errors import BackboneError
from noah.model.kinds.module import Width
from noah.model.supernet import Supernet
from noah.model.supernet_block import BlockUse, SupernetBlock, forward_block
from noah.model.token_plan import plan_tokens
from noah.space.subnet import Subnet

MOST_KINDS = 64
"""How many versions of a block torch may compile: seven kinds, by batch size and whether the input has a gradient."""


class CompiledForward:
    """`Supernet.forward` with compiled blocks.

    Args:
        supernet: The supernet to compute; its weights may change later.
        backend: The backend of torch.compile.
    """

    def __init__(self, supernet: Supernet, backend: str | Callable[..., Any] = "inductor") -> None:
        self.supernet = supernet
        self._forward_block = _compiled(backend)
        self._masks: dict[tuple[int, int], Tensor] = {}

    def __call__(self, inputs: Tensor, subnet: Subnet, first: int = 0) -> Tensor:
        """Compute logits (B, classes) with one subnet; the arguments are those of `Supernet.forward`.

        Raises:
            SettingsError: If the subnet does not fit inside the largest widths.
            BackboneError: If torch cannot compile on this machine.
        """
        supernet, largest = self.supernet, self.supernet.largest
        supernet.check_fits(subnet)
        x = inputs if first else supernet.embed(inputs)
        padded = [most if used else 0 for used, most in zip(subnet.prompt, largest.prompt, strict=True)]
        used, most = 0, 0
        for index, plan in list(enumerate(plan_tokens(padded, supernet.last_readers)))[first:]:
            block = supernet.block(index)
            widths = {
                name: self._mask(subnet.widths(name)[index], largest.widths(name)[index]) for name in block.modules
            }
            if count := subnet.widths("prompt")[index]:
                used, most = count, plan.new_prompts
            use = BlockUse(
                plan,
                supernet.new_tokens(index, plan.new_prompts, len(x)),
                widths,
                self._drop_path_rate(index),
                _hide(used, most, x.shape[1] - plan.carried, x.device) if most else None,
            )
            try:
                if supernet.activation_checkpointing and torch.is_grad_enabled():
                    x = checkpoint(self._forward_block, block, x, use, use_reentrant=False)
                else:
                    x = self._forward_block(block, x, use)
            except TorchDynamoException as error:
                raise _cannot_compile(error) from error
        return supernet.classify(x)

    def drop_gradients_of_unused(self, subnets: Sequence[Subnet]) -> None:
        """Remove the gradients of modules that none of `subnets` has, as if they had never been computed.

        Gradients of zero would still move their weights: AdamW has momentum and weight decay.
        """
        for kind in (kind for kind in self.supernet.kinds if kind != "prompt"):
            for index in range(self.supernet.largest.depth):
                if not any(subnet.widths(kind)[index] for subnet in subnets):
                    self.supernet.module(kind, index).zero_grad(set_to_none=True)

    def _mask(self, used: int, most: int) -> Width:
        """A mask (`most`) with ones for the rows in use and zeros for the others; the number 0 if there are no rows."""
        if not most:
            return 0
        if (used, most) not in self._masks:
            device = self.supernet.head.weight.device
            self._masks[used, most] = (torch.arange(most, device=device) < used).to(self.supernet.head.weight.dtype)
        return self._masks[used, most]

    def _drop_path_rate(self, index: int) -> float | Tensor:
        """The rate as a tensor, so that blocks that differ only in it share their code."""
        rate = self.supernet.drop_path_rates[index]
        if not (any(self.supernet.drop_path_rates) and self.supernet.training):
            return 0.0
        return torch.full((), rate, device=self.supernet.head.weight.device)


def _compiled(backend: str | Callable[..., Any]) -> Callable[[SupernetBlock, Tensor, BlockUse], Tensor]:
    """`forward_block` compiled for one supernet, whose kinds of blocks no other supernet's count against."""
    options: dict[str, Any] = {"recompile_limit": MOST_KINDS, "isolate_recompiles": True}
    if options.keys() <= inspect.signature(torch.compile).parameters.keys():
        compiled: Callable[[SupernetBlock, Tensor, BlockUse], Tensor]
        compiled = torch.compile(forward_block, backend=backend, fullgraph=True, **options)
        return compiled
    # torch 2.11 and older keep what they compiled, and count it, by the code object; the limit is a setting of theirs.
    copy = FunctionType(forward_block.__code__.replace(), forward_block.__globals__)
    compiled = torch.compile(copy, backend=backend, fullgraph=True)

    def within_limit(block: SupernetBlock, x: Tensor, use: BlockUse) -> Tensor:
        with torch._dynamo.config.patch(recompile_limit=MOST_KINDS):
            return compiled(block, x, use)

    return within_limit


def _hide(used: int, most: int, others: int, device: torch.device) -> Tensor:
    """A bias for the scores of `others` keys and then `most` prompts, which hides all prompts but the first `used`."""
    bias = torch.zeros(others + most, device=device)
    bias[others + used :] = -torch.inf
    return bias


def _cannot_compile(error: TorchDynamoException) -> BackboneError:
    cause = error.inner_exception if isinstance(error, BackendCompilerFailed) else error
    first = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    return BackboneError(
        f"torch.compile cannot compile the supernet's blocks here: {first}",
        "Run it uncompiled: add --set hardware.compile=false.",
    )
