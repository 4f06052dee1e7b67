"""What the paper and later methods report on VTAB-1k, for comparison with one's own results.

Sources: "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673), Table 1, for the accuracy on each task; the
papers of the later methods for their means of the three groups' means. All use ViT-B/16, pre-trained on ImageNet-21k.
The two lists of later methods differ in the protocol: the first follows each paper's own protocol, the second the same
protocol for all, with the accuracy of the last epoch.

One figure of Table 1 does not fit the average beside it: with 87.2 for fine-tuning on Flowers that would be 68.5, where
68.9 is given; with 97.2, as later papers have it, it would be 69.0. The other averages are met within 0.1.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

PAPER_NAMES = MappingProxyType(
    {
        "full": "fine-tuning",
        "linear": "linear",
        "vpt": "VPT",
        "adapter": "adapter",
        "lora": "LoRA",
        "noah": "NOAH",
    }
)
"""The methods of Table 1, with their names in our tables."""


def paper_method(method: str) -> str | None:
    """Find the method of Table 1 that one of our methods is compared with; None if there is none.

    LoRA and adapter are compared only at the paper's width. Prompts are compared with VPT at every width, because the
    paper has no single width for it: it takes the best of several for each task.
    """
    fixed = {"noah": "noah", "published": "noah", "lora:8": "lora", "adapter:8": "adapter", "linear": "linear"}
    return "vpt" if re.fullmatch(r"prompt:[0-9]+", method) else fixed.get(method)


def paper_accuracy(method: str, task: str) -> float:
    """The accuracy of a method of Table 1 on a task of VTAB-1k, 0..1."""
    return float(_figures()["methods"][method]["top1"][task]) / 100


def later_methods() -> tuple[tuple[str, float], ...]:
    """Later methods, each with the mean of the groups' means that its own paper reports, best first."""
    return _ordered("later_methods_group_mean")


def later_methods_same_protocol() -> tuple[tuple[str, float], ...]:
    """Methods with the mean of the groups' means, all with the same protocol (last epoch's accuracy), best first."""
    return _ordered("same_protocol_last_epoch_group_mean")


def _ordered(key: str) -> tuple[tuple[str, float], ...]:
    figures: dict[str, float] = _figures()[key]
    return tuple((name, value / 100) for name, value in sorted(figures.items(), key=lambda item: -item[1]))


@cache
def _figures() -> Any:
    return json.loads(files("noah.benchmark").joinpath("published_accuracy.json").read_text(encoding="utf-8"))
