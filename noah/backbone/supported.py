"""Which backbones the method covers; every other is refused by name, with the reason.

The exact merge rewrites the inside of a block, so it has to know that inside. What it knows of each family of timm's
architectures stands in a file of `noah.backbone.families`. This file also builds an architecture without its trained
weights, for computing costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import timm
from torch import nn

from noah.backbone.architecture import Architecture
from noah.backbone.families.registry import FAMILIES, HINT, family_of
from noah.backbone.view import NetworkView
from noah.errors import BackboneError, UnsupportedBackboneError

_WINDOWS = "its attention stays inside windows"
_CONVOLUTIONAL = "it is a convolutional network, without attention"
_OTHER_DESIGNS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(
            ("SwinTransformer", "SwinTransformerV2", "SwinTransformerV2Cr"),
            f"{_WINDOWS}, and it merges patches on the way",
        ),
        **dict.fromkeys(("Hiera", "HieraDet"), f"{_WINDOWS}, and it pools patches on the way"),
        "VisionTransformerSAM": _WINDOWS,
        "MultiScaleVit": "it pools queries, keys and values on the way",
        **dict.fromkeys(("ConvNeXt", "ResNet"), _CONVOLUTIONAL),
        "NaFlexVit": "it takes images of any shape, a sequence of patches each",
    }
)
"""Name of a class of timm's that people ask for and no family covers -> why."""


def check_supported(backbone: nn.Module) -> None:
    """Refuse a backbone that the method does not cover.

    Raises:
        UnsupportedBackboneError: If it is not covered; it lists every reason found.
    """
    reasons = unsupported_parts(backbone)
    if reasons:
        raise UnsupportedBackboneError(
            f"The backbone {type(backbone).__name__} is not supported: {'; '.join(reasons)}.",
            HINT,
        )


def unsupported_parts(backbone: Any) -> list[str]:
    """List the reasons why a backbone cannot be used; empty if it can."""
    family = family_of(backbone)
    if family is None:
        return [_why_no_family(backbone)]
    return family.unsupported(backbone) or _uneven_blocks(family.view(backbone))


def _why_no_family(backbone: Any) -> str:
    name = type(backbone).__name__
    if name in _OTHER_DESIGNS:
        return _OTHER_DESIGNS[name]
    names = ", ".join(family.network.__name__ for family in FAMILIES)
    return f"the architecture {name} is none of timm's {names}"


def _uneven_blocks(view: NetworkView) -> list[str]:
    """Why blocks that differ are not covered."""
    first = view.block(0).sizes
    other = next((index for index in range(view.depth) if view.block(index).sizes != first), None)
    return [] if other is None else [f"block {other} has layers of other sizes than block 0"]


def untrained_backbone(architecture: str, image_size: tuple[int, int], num_classes: int) -> nn.Module:
    """Build a backbone with a head and random weights; nothing is downloaded or read.

    Inside `noah.backbone.outline.outlines()` it takes no memory, and only its shapes can be used.

    Args:
        architecture: The text of an `Architecture`: timm's name, and arguments of its constructor in brackets.
        image_size: Height and width of the input in pixels.
        num_classes: The number of outputs of the head.

    Raises:
        BackboneError: If the installed timm has no such architecture or cannot build it at this size.
        UnsupportedBackboneError: If the method does not cover it.
    """
    try:
        named = Architecture.read(architecture)
        model = timm.create_model(named.name, img_size=image_size, num_classes=num_classes, **named.arguments)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        # timm raises any of these, from its registry or from the constructor of the model.
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"timm {timm.__version__} cannot build the architecture {architecture}: {cause}",
            "Install the timm that the run was made with; its run.yaml names the version.",
        ) from error
    check_supported(model)
    return cast(nn.Module, model).requires_grad_(False).eval()
