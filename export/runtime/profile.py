"""The batch sizes that an artifact is made for and proved at."""

from __future__ import annotations

from dataclasses import dataclass

from noah.errors import UsageError


@dataclass(frozen=True)
class Profile:
    """Smallest, usual and largest number of images in a batch.

    An engine runs no batch outside of these and is fastest at `optimum`. An ONNX file takes any batch; for it they are
    the sizes of the parity check.
    """

    minimum: int
    optimum: int
    maximum: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The distinct sizes, ascending."""
        return tuple(sorted({self.minimum, self.optimum, self.maximum}))

    def __str__(self) -> str:
        return f"{self.minimum}:{self.optimum}:{self.maximum}"


ONNX_PROFILE = Profile(1, 2, 32)
"""A batch of 2 finds what an exporter took for a constant; the axis is free."""
ENGINE_PROFILE = Profile(1, 32, 256)


def parse_profile(text: str) -> Profile:
    """The profile in `1:32:256`.

    Raises:
        UsageError: If it is not three whole numbers that ascend from 1 or more.
    """
    parts = text.split(":")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        profile = Profile(*map(int, parts))
        if 1 <= profile.minimum <= profile.optimum <= profile.maximum:
            return profile
    raise UsageError(
        f"--batch {text}: not a smallest, usual and largest batch.", "Write three numbers that ascend: --batch 1:32:256"
    )
