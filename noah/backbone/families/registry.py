"""The families that the method covers, as values, and the view on any network of theirs.

To add a family: a file beside this one, a line here, and its tiny backbones in `tests/noah/architectures.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from noah.backbone.families.beit import BEIT
from noah.backbone.families.distilled import DISTILLED
from noah.backbone.families.eva import EVA
from noah.backbone.families.family import Family
from noah.backbone.families.plain import PLAIN
from noah.backbone.families.relative import RELATIVE
from noah.backbone.view import NetworkView
from noah.errors import UnsupportedBackboneError
from noah.space.kinds import BlockSizes

FAMILIES: tuple[Family, ...] = (PLAIN, DISTILLED, EVA, BEIT, RELATIVE)
HINT = f"The families that are covered: {', '.join(family.name for family in FAMILIES)}. To list all: noah backbones"
"""What to do about a backbone that is not covered."""


def family_of(backbone: Any) -> Family | None:
    """The family of a network; None if it belongs to none."""
    return next((family for family in FAMILIES if type(backbone) is family.network), None)


def view_of(backbone: Any) -> NetworkView:
    """The view on a network.

    Raises:
        UnsupportedBackboneError: If it belongs to no family.
    """
    family = family_of(backbone)
    if family is None:
        raise UnsupportedBackboneError(
            f"The backbone {type(backbone).__name__} is not supported: it is of no family that is covered.", HINT
        )
    return family.view(backbone)


def converted(state: Mapping[str, Tensor], backbone: Any) -> Mapping[str, Tensor]:
    """A checkpoint's weights under timm's present names for a network, with positions resampled to its grid."""
    family = family_of(backbone)
    return state if family is None else family.converted(state, backbone)


def sizes_of(backbone: Any) -> BlockSizes:
    """The sizes of a backbone's blocks, which are all alike."""
    return view_of(backbone).block(0).sizes
