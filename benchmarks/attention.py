"""How fast attention is in bfloat16: torch's fused kernel against the two products written out.

    python benchmarks/attention.py [--device cpu] [--repetitions 30]

Both ways take turns on the same queries, keys and values of ViT-S (6 heads of 64, 50 images); forward and backward are
timed separately. Prints one line of JSON for each number of tokens: medians in milliseconds, and fused / written out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch
from torch import Tensor
from torch.nn import functional as F

HEADS, WIDTH, IMAGES, PROMPTS = 6, 64, 50, 5


def fused(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Compute attention with torch's fused kernel."""
    return F.scaled_dot_product_attention(queries, keys, values)


def written_out(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Compute attention as product, softmax, product."""
    return (queries * WIDTH**-0.5 @ keys.transpose(-2, -1)).softmax(dim=-1) @ values


def main() -> None:
    """Time both with the number of tokens at 56, 70 and 98 px (patch 14) and at 224 px (patch 16)."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repetitions", type=int, default=30)
    arguments = parser.parse_args()
    for tokens in (17, 26, 50, 197):
        shapes = [(IMAGES, count, HEADS, WIDTH) for count in (tokens, tokens + PROMPTS, tokens + PROMPTS)]
        inputs = [
            torch.randn(shape, dtype=torch.bfloat16, device=arguments.device).transpose(1, 2).requires_grad_()
            for shape in shapes
        ]
        seconds: dict[str, list[float]] = {
            f"{way.__name__} {half}": [] for way in (fused, written_out) for half in ("forward", "backward")
        }
        for _ in range(arguments.repetitions + 2):
            for way in (fused, written_out):
                started = time.perf_counter()
                mixed = way(*inputs)
                mixed_at = _now(arguments.device)
                mixed.backward(torch.ones_like(mixed))
                seconds[f"{way.__name__} forward"].append(mixed_at - started)
                seconds[f"{way.__name__} backward"].append(_now(arguments.device) - mixed_at)
        medians = {name: 1e3 * statistics.median(values[2:]) for name, values in seconds.items()}
        ratios = {half: medians[f"fused {half}"] / medians[f"written_out {half}"] for half in ("forward", "backward")}
        figures = {name: round(value, 2) for name, value in medians.items()}
        print(json.dumps({"tokens": tokens, **figures, **{f"ratio {k}": round(v, 2) for k, v in ratios.items()}}))


def _now(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
