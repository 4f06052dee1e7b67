"""How fast dropout is on a CPU: torch's own against `noah.model.dropout`, on the tokens that LoRA receives.

    python benchmarks/dropout.py [--threads 2] [--rounds 30]

Both take turns on the same tokens, forward and backward. Prints one line of JSON for each type and number of tokens:
medians in milliseconds, and torch's time / noah's.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from noah.hardware.turns import seconds_in_turns
from noah.model.dropout import apply_dropout

IMAGES, WIDTH, RATE = 32, 384, 0.1


def main() -> None:
    """Time both with the tokens of ViT-S/14 at 98 px, with and without 50 prompts, in both precisions."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for dtype in (torch.bfloat16, torch.float32):
        for tokens in (50, 100):
            x = torch.randn(IMAGES, tokens, WIDTH, dtype=dtype, requires_grad=True)
            ways: dict[str, Callable[[Tensor, float, bool], Tensor]] = {"torch": F.dropout, "noah": apply_dropout}
            runs = [partial(both_ways, way, x) for way in ways.values()]
            seconds = seconds_in_turns(runs, warm_up=2, is_enough=lambda counted, _: counted == arguments.rounds)
            medians = {name: 1e3 * statistics.median(values) for name, values in zip(ways, seconds, strict=True)}
            print(
                json.dumps(
                    {
                        "type": str(dtype).removeprefix("torch."),
                        "tokens": tokens,
                        **{name: round(value, 2) for name, value in medians.items()},
                        "ratio": round(medians["torch"] / medians["noah"], 2),
                    }
                )
            )


def both_ways(way: Callable[[Tensor, float, bool], Tensor], x: Tensor) -> None:
    """Forward and backward."""
    dropped = way(x, RATE, True)
    dropped.backward(dropped.detach())


if __name__ == "__main__":
    main()
