"""The batch sizes that an artifact is made for and checked at."""

from __future__ import annotations

from dataclasses import dataclass

from noah.errors import UsageError


@dataclass(frozen=True)
class Profile:
    """Smallest, usual and largest number of images in a batch.

    An engine runs no batch outside this range and is fastest at `optimum`. An ONNX file takes any batch; for it, these
    are just the sizes of the parity check.
    """

    minimum: int
    optimum: int
    maximum: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """The distinct sizes in ascending order."""
        return tuple(sorted({self.minimum, self.optimum, self.maximum}))

    def __str__(self) -> str:
        return f"{self.minimum}:{self.optimum}:{self.maximum}"


ONNX_PROFILE = Profile(1, 2, 32)
"""The sizes at which an ONNX file is checked; a batch of 2 shows whether the exporter took a size for a constant."""
ENGINE_PROFILE = Profile(1, 32, 256)


def parse_profile(text: str) -> Profile:
    """Read a profile written like `1:32:256`.

    Raises:
        UsageError: If it is not three ascending whole numbers of at least 1.
    """
    parts = text.split(":")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() for part in parts):
        profile = Profile(*map(int, parts))
        if 1 <= profile.minimum <= profile.optimum <= profile.maximum:
            return profile
    raise UsageError(
        f"--batch {text} is not a smallest, usual and largest batch.", "Write three ascending numbers: --batch 1:32:256"
    )
