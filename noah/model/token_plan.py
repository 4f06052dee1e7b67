"""Which tokens a block has to compute, and which of them are read afterwards.

In a plain transformer, every token of a block has a query, a key and a value, and goes through the MLP. Two facts make
much of that unnecessary without changing a single logit:

- A prompt's output is read only if the next block has no prompt of its own. Otherwise the next block replaces it, and
  after the last block the head ignores it. Such a prompt is needed only as a key and a value. In the block that adds
  it, these do not depend on the image at all: they are constants of the model.
- In the last block the head reads only the class token, or pools the patch tokens. Only these need a query, a
  projection, an MLP and an adapter there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noah.backbone.view import Readers


@dataclass(frozen=True, slots=True)
class BlockPlan:
    """What one block does with prompt tokens.

    Args:
        new_prompts: How many prompt tokens this block adds; they replace those carried from earlier blocks.
        carried: How many prompt tokens arrive from the block before and stay.
        passed_on: How many prompt tokens (new or carried) the next block reads.
        readers: The other tokens whose output is read.

    Prompt tokens that are not passed on need only keys and values: constants if they are new, otherwise computed from
    the carried tokens.
    """

    new_prompts: int
    carried: int
    passed_on: int
    readers: Readers


def plan_tokens(prompt_widths: Sequence[int], last_readers: Readers) -> tuple[BlockPlan, ...]:
    """Plan every block.

    Args:
        prompt_widths: The number of prompt tokens that each block adds.
        last_readers: What the head reads after the last block.
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
