"""Which tokens a block has to compute, and which of them anybody reads.

In a plain transformer every token of a block gives a query, a key and a value, and goes through the MLP. Two facts
make much of that unnecessary without changing a single logit:

- A prompt's output is read only if the next block has no prompt of its own. Otherwise the next block replaces it, and
  in the last block the head never looks at it. Such a prompt is needed as a key and a value only. In the block that
  brings it, these do not depend on the image at all: they are constants of the model.
- In the last block the head reads the class token, or the mean of the patch tokens. Only these need a query, a
  projection, an MLP and an adapter there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Readers(Enum):
    """The tokens, prompts aside, whose output of a block is read by somebody."""

    ALL = "all"
    CLASS = "class token"
    PATCHES = "patch tokens"


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What one block does with prompt tokens.

    Args:
        new_prompts: Tokens that this block brings; they replace those carried from before.
        carried: Prompt tokens that arrive from the block before and stay.
        passed_on: Prompt tokens (new or carried) whose output the next block reads.
        readers: The other tokens whose output is read.

    Prompt tokens that are not passed on give keys and values only: constants where they are new, computed from the
    carried tokens where they are not.
    """

    new_prompts: int
    carried: int
    passed_on: int
    readers: Readers


def plan_tokens(prompt_widths: Sequence[int], last_readers: Readers) -> tuple[BlockPlan, ...]:
    """The plan of every block.

    Args:
        prompt_widths: Number of prompt tokens that each block brings.
        last_readers: What the head reads of the last block.
    """
    plans = []
    alive = 0
    last = len(prompt_widths) - 1
    for block, width in enumerate(prompt_widths):
        carried = 0 if width else alive
        alive = width or alive
        replaced_next = block == last or prompt_widths[block + 1] > 0
        plans.append(
            BlockPlan(
                new_prompts=width,
                carried=carried,
                passed_on=0 if replaced_next else alive,
                readers=last_readers if block == last else Readers.ALL,
            )
        )
    return tuple(plans)
