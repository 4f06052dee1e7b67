"""A backbone's architecture without its weights, for what depends on shapes alone: its work and its speed."""

from __future__ import annotations

from typing import cast

import timm
from torch import nn

from noah.backbone.supported import check_supported
from noah.errors import BackboneError


def untrained_backbone(architecture: str, image_size: tuple[int, int], num_classes: int) -> nn.Module:
    """Build a backbone with a head and random weights; nothing is downloaded or read.

    Under `torch.device("meta")` it takes no memory, and only its shapes can be used.

    Args:
        architecture: timm's name of the architecture.
        image_size: Height and width of its input in pixels.
        num_classes: Outputs of the head.

    Raises:
        BackboneError: If the installed timm has no such architecture or cannot build it at this size.
        UnsupportedBackboneError: If the method does not cover it.
    """
    try:
        model = timm.create_model(architecture, pretrained=False, img_size=image_size, num_classes=num_classes)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        # timm raises any of these, from its registry or from the constructor of the model.
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"timm {timm.__version__} cannot build the architecture {architecture}: {cause}",
            "Install the timm that the run was made with; its run.yaml names the version.",
        ) from error
    check_supported(model)
    return cast(nn.Module, model).requires_grad_(False).eval()
