"""How image files become 8-bit RGB where more than one way is right; a run and its artifacts keep it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

Alpha = Literal["white", "black", "ignore"]
"""What transparent pixels are laid on; "ignore" takes the colors that are stored under them."""

LOWEST_DEPTH, WHOLE_DEPTH = 8, 16
"""The fewest and the most bits that the values of a 16-bit file may use."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How an image file is decoded.

    The defaults are how images were decoded before runs and artifacts recorded it.

    Attributes:
        alpha: What transparent pixels are laid on.
        bit_depth: How many bits the values of 16-bit files use, 8 to 16; the largest value of so many bits is white.
        repair: Whether a JPEG that ends too early is decoded as far as it goes, and gray below, as browsers do.

    Raises:
        ValueError: If a value is none of these.
    """

    alpha: Alpha = "ignore"
    bit_depth: int = WHOLE_DEPTH
    repair: bool = False

    def __post_init__(self) -> None:
        if self.alpha not in get_args(Alpha):
            raise ValueError(f"alpha must be white, black or ignore, not {self.alpha!r}")
        if type(self.bit_depth) is not int or not LOWEST_DEPTH <= self.bit_depth <= WHOLE_DEPTH:
            raise ValueError(f"bit_depth must be a whole number from 8 to 16, not {self.bit_depth!r}")
        if type(self.repair) is not bool:
            raise ValueError(f"repair must be true or false, not {self.repair!r}")

    def to_json(self) -> dict[str, Any]:
        """The values by name, in types that JSON knows."""
        return asdict(self)

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Decoding:
        """Undo `to_json`; what is missing has its default.

        Raises:
            ValueError: If a key is unknown or a value wrong.
        """
        unknown = sorted(set(mapping) - {"alpha", "bit_depth", "repair"})
        if unknown:
            raise ValueError(f"unknown key {unknown[0]!r}")
        return cls(**mapping)


AS_STORED = Decoding()
"""How images were decoded before it was recorded."""
