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
from noah.backbone.families.registry import FAMILIES, family_of
from noah.backbone.view import NetworkView
from noah.errors import BackboneError, UnsupportedBackboneError

_PLAIN = "vit_base_patch16_224"


_OTHER_DESIGNS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "SwinTransformer": ("its attention stays inside windows, and it merges patches on the way", _PLAIN),
        "SwinTransformerV2": ("its attention stays inside windows, and it merges patches on the way", _PLAIN),
        "SwinTransformerV2Cr": ("its attention stays inside windows, and it merges patches on the way", _PLAIN),
        "Hiera": ("its attention stays inside windows, and it pools patches on the way", "vit_base_patch16_224.mae"),
        "HieraDet": ("its attention stays inside windows, and it pools patches on the way", "vit_base_patch16_224.mae"),
        "MultiScaleVit": ("it pools queries, keys and values on the way", _PLAIN),
        "VisionTransformerSAM": ("its attention stays inside windows", _PLAIN),
        "ConvNeXt": ("it is a convolutional network, without attention", "vit_small_patch16_dinov3"),
        "ResNet": ("it is a convolutional network, without attention", "deit_small_patch16_224"),
        "NaFlexVit": ("it takes images of any shape, a sequence of patches each", "vit_base_patch16_siglip_224"),
    }
)
"""Name of a class of timm's that people ask for and no family covers -> why, and an architecture that is near it."""


def check_supported(backbone: nn.Module) -> None:
    """Refuse a backbone that the method does not cover.

    Raises:
        UnsupportedBackboneError: If it is not covered; it lists every reason found.
    """
    reasons = unsupported_parts(backbone)
    if reasons:
        raise UnsupportedBackboneError(
            f"The backbone {type(backbone).__name__} is not supported: {'; '.join(reasons)}.",
            f"Use {nearest_covered(backbone)}, which is near it, or another of a family that is covered: "
            f"{', '.join(family.name for family in FAMILIES)}.",
        )


def nearest_covered(backbone: Any) -> str:
    """Timm's name for an architecture that is covered and near one that is not."""
    family = family_of(backbone)
    if family is not None:
        return family.example
    _, nearest = _OTHER_DESIGNS.get(type(backbone).__name__, ("", _PLAIN))
    return nearest


def unsupported_parts(backbone: Any) -> list[str]:
    """List the reasons why a backbone cannot be used; empty if it can."""
    family = family_of(backbone)
    if family is None:
        return [_why_no_family(backbone)]
    return family.unsupported(backbone) or _uneven_blocks(family.view(backbone))


def _why_no_family(backbone: Any) -> str:
    name = type(backbone).__name__
    why, _ = _OTHER_DESIGNS.get(name, ("", ""))
    if why:
        return why
    names = ", ".join(family.network.__name__ for family in FAMILIES)
    return f"the architecture {name} is none of timm's {names}"


def _uneven_blocks(view: NetworkView) -> list[str]:
    """Why blocks that differ are not covered."""
    first = view.block(0).sizes
    other = next((index for index in range(view.depth) if view.block(index).sizes != first), None)
    return [] if other is None else [f"block {other} has layers of other sizes than block 0"]


def untrained_backbone(architecture: str, image_size: tuple[int, int], num_classes: int) -> nn.Module:
    """Build a backbone with a head and random weights; nothing is downloaded or read.

    Under `torch.device("meta")` it takes no memory, and only its shapes can be used.

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
