"""The architectures of timm: which are covered, what they cost, and for the others why not and what is nearest.

Every one is built anew as an outline, in some hundredths of a second, so what is told is true of the installed timm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import timm

from noah.backbone.architecture import Architecture
from noah.backbone.family import family_architectures
from noah.backbone.nearest import nearest_covered
from noah.backbone.outline import outline
from noah.backbone.spellings import timm_name
from noah.backbone.supported import unsupported_parts
from noah.backbone.timm_weights import cached_weights
from noah.backbone.weights_file import first_line
from noah.cost.image_cost import ImageCost, cheaper_size, image_tokens
from noah.cost.macs import backbone_macs
from noah.errors import UsageError


@dataclass(frozen=True, slots=True)
class BackboneRow:
    """One architecture of timm.

    Args:
        architecture: timm's name.
        covered: Whether the method covers it.
        reason: Why it is not; empty if it is.
        nearest: For one that is not, the nearest that is; None if there is none.
        parameters: Weights without a head; None if timm cannot build it.
        image_size: Height and width in pixels that it comes with; None if it has no size of its own.
        tokens: Tokens of an image of that size; None if it is not covered.
        macs: Multiply-accumulates of the plain backbone for an image of that size; None if it is not covered.
        cheaper: The cost at about 224 px, if its own size is dear.
        weights: Tags of the weights that timm knows.
        cached: Those of them that are in the hub's cache on this machine.
    """

    architecture: str
    covered: bool
    reason: str = ""
    nearest: str | None = None
    parameters: int | None = None
    image_size: tuple[int, int] | None = None
    tokens: int | None = None
    macs: int | None = None
    cheaper: ImageCost | None = None
    weights: tuple[str, ...] = ()
    cached: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def matching_architectures(pattern: str | None) -> list[str]:
    """The architectures that a pattern names, sorted.

    Args:
        pattern: With `*` and `?`, or a part of a name, or a name with a tag, or a name of Hugging Face's hub whose
            weights timm has. It names vision transformers, or any architectures of timm if it matches none of these.
            None names all vision transformers.

    Raises:
        UsageError: If it matches nothing.
    """
    if pattern is None:
        return list(family_architectures())
    name = (timm_name(pattern) or pattern).split(".")[0]
    wild = name if any(sign in name for sign in "*?[") else f"*{name}*"
    for names in (family_architectures(), tuple(timm.list_models())):
        if name in names:
            return [name]
        if found := sorted(one for one in names if fnmatchcase(one, wild)):
            return found
    raise UsageError(
        f"timm {timm.__version__} has no architecture that matches {pattern!r}.",
        "Write a part of a name, or a pattern such as 'vit_small_*'; without one, all are listed.",
    )


def list_backbones(names: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> list[BackboneRow]:
    """Describe architectures.

    Args:
        names: timm's names.
        progress: Receives how many have been built.
    """
    rows: dict[str, BackboneRow] = {}
    weights: dict[str, list[str]] = {}
    for weight in timm.list_pretrained():
        weights.setdefault(weight.split(".")[0], []).append(weight)

    def look(name: str) -> BackboneRow:
        if name not in rows:
            rows[name] = _describe(name, weights.get(name, []))
        return rows[name]

    for done, name in enumerate(names, 1):
        look(name)
        progress(done)
    return [
        row if row.covered else replace(row, nearest=nearest_covered(row.architecture, look))
        for row in (rows[name] for name in names)
    ]


def _describe(name: str, known: list[str]) -> BackboneRow:
    row = BackboneRow(name, covered=False, weights=_tags(known), cached=_tags(cached_weights(known)))
    try:
        model: Any = outline(name)
    except Exception as error:  # timm's constructors raise anything
        return replace(row, reason=f"timm cannot build it: {first_line(error)}")
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    row = replace(
        row,
        parameters=sum(weight.numel() for weight in model.parameters()),
        image_size=None if size is None else (int(size[0]), int(size[1])),
    )
    reasons = unsupported_parts(model)
    if reasons:
        return replace(row, reason="; ".join(reasons))
    return replace(
        row,
        covered=True,
        tokens=image_tokens(model),
        macs=backbone_macs(model, 0),
        cheaper=cheaper_size(Architecture(name), model),
    )


def _tags(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.partition(".")[2] for name in names)
