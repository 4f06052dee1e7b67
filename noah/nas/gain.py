"""By what a final compares, and what a search gained over its best single module and a random subnet, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noah.space.baselines import LINEAR

MEASURES: Mapping[str, str] = {
    "accuracy": "accuracy",
    "cross_entropy": "cross-entropy",
    "calibrated_cross_entropy": "calibrated cross-entropy",
}
"""What `search.rerank_by` may name, in words."""


def describe_gain(single: Mapping[str, Any]) -> str:
    """Say what a mixture gained over the best single module of the final.

    Args:
        single: What search/best.json says of that module.
    """
    alone = "no module at all" if single["kind"] == LINEAR else f"{single['kind']} alone"
    if not single.get("others", 1):  # earlier versions did not count them
        return f"not known: only single modules were in the final, which {alone} won"
    if "lead" not in single:
        return f"none: {alone} won the final, and no mixture of modules was better"
    lead, error = single["lead"], single["lead_error"]
    if single.get("won"):
        return (
            f"none: the best mixture has {100 * lead:+.1f} ± {100 * error:.1f} points over {alone}, which is cheaper "
            "and therefore the winner"
        )
    told = (
        f"{100 * lead:+.1f} ± {100 * error:.1f} points over subnet {single['index']}, {alone}, the best single module"
    )
    return told if lead > error else f"{told}: no more than chance may give"


def describe_typical(result: Mapping[str, Any]) -> str:
    """Say what random subnets of the budget give, beside the winner.

    Args:
        result: The content of search/best.json, with `typical`.
    """
    typical = result["typical"]
    return (
        f"{typical['subnets']} random subnets of the budget have {typical['accuracy']:.1%} ± "
        f"{typical['standard_error']:.1%} on average, the winner {result['accuracy']:.1%}"
    )
