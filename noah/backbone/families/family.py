"""What a family of architectures is: which networks belong to it, which of them are covered, and how they are seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from noah.backbone.view import NetworkView


@dataclass(frozen=True, slots=True)
class Family:
    """One family of timm's architectures.

    Attributes:
        name: As people call it.
        network: timm's class; classes derived from it belong to other families.
        unsupported: The reasons why a network of this class is not covered; empty if it is.
        view: A network that is covered -> the view on it.
        converted: A checkpoint's weights by name, and the network -> weights under timm's present names, with positions
            resampled to the network's grid, as timm does it.
    """

    name: str
    network: type
    unsupported: Callable[[Any], list[str]]
    view: Callable[[Any], NetworkView]
    converted: Callable[[Mapping[str, Tensor], Any], Mapping[str, Tensor]]
