"""Builds a backbone without a head, and refuses what the method does not cover before any weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import timm
from torch import nn

from noah.backbone.architecture import Architecture
from noah.backbone.families.registry import view_of
from noah.backbone.outline import outlines
from noah.backbone.supported import check_supported
from noah.errors import BackboneError, SettingsError, UnsupportedBackboneError, inside_sentence


def build(
    architecture: Architecture,
    image_size: int | None,
    *,
    pretrained: bool = False,
    configuration: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build a timm model without a head.

    Args:
        architecture: Its name, and the arguments of its constructor.
        image_size: Side of the input in pixels; None keeps the architecture's own.
        pretrained: Whether timm is to load its weights; otherwise they are random.
        configuration: What timm calls `pretrained_cfg`, which holds the preprocessing; None takes timm's own.

    Raises:
        UnsupportedBackboneError: If the method does not cover it.
        SettingsError: If the image size is not a multiple of the patch size, or timm refuses an argument.
        BackboneError: If timm cannot build it at this size.
    """
    options: dict[str, Any] = dict(architecture.arguments)
    if image_size is not None:
        options["img_size"] = image_size
    if configuration is not None:
        options["pretrained_cfg"] = dict(configuration)
    try:
        model = timm.create_model(architecture.name, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        raise _refused(architecture, error, "unexpected keyword" in str(error)) from error
    except (ValueError, AssertionError, KeyError, AttributeError) as error:
        if pretrained or not architecture.arguments:
            raise
        raise _refused(architecture, error, unknown=False) from error
    try:
        check_supported(model)
    except UnsupportedBackboneError as error:
        raise UnsupportedBackboneError(error.problem, _instead(architecture)) from error
    check_image_size(model, view_of(model).image_size)
    return cast(nn.Module, model)


def check_buildable(
    architecture: Architecture, image_size: int | None, configuration: Mapping[str, Any] | None = None
) -> None:
    """Refuse what `build` would refuse, at next to no cost; for before a download.

    Raises:
        BackboneError, SettingsError: As in `build`.
    """
    with outlines():
        build(architecture, image_size, configuration=configuration)


def check_image_size(model: Any, sides: tuple[int, int], name: str = "backbone.image_size") -> None:
    """Refuse an image size that is not a multiple of the patch size.

    Args:
        model: A timm model with patch embeddings.
        sides: Height and width in pixels.
        name: The setting that the error names.

    Raises:
        SettingsError: If a side is not a multiple; it suggests the nearest smaller size that is.
    """
    for side, patch in zip(sides, view_of(model).stride, strict=True):
        if side % patch:
            near = max(patch, side // patch * patch)
            raise SettingsError([f"{name}: {side} is not a multiple of the patch size {patch}; use {near}"])


def _refused(architecture: Architecture, error: Exception, unknown: bool) -> BackboneError | SettingsError:
    """The error for what the architecture's constructor refuses."""
    cause = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    if "img_size" in cause or not architecture.arguments:
        return BackboneError(
            f"The architecture {architecture.name} does not take an image size ({cause}).",
            "Use a vision transformer that noah covers, such as vit_base_patch16_224.",
        )
    what = "does not take" if unknown else "cannot be built with"
    given = ", ".join(f"{name}={value}" for name, value in architecture.arguments.items())
    return SettingsError(
        [f"backbone.arguments: {architecture.name} {what} {given}: {inside_sentence(cause)}"],
        "Check --backbone-arg NAME=VALUE; the arguments are those of the architecture's class in timm.",
    )


def _instead(architecture: Architecture) -> str:
    """What to use instead of an architecture that is not covered."""
    from noah.backbone.nearest import nearest_covered  # it builds architectures of its own, and only here

    near = nearest_covered(architecture.base)
    told = f"The nearest that is: {near}. " if near else ""
    return f"{told}To list all: noah backbones"
