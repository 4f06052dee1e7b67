"""What came of showing a subnet validation images; it needs no torch."""

from __future__ import annotations

from dataclasses import dataclass

from noah.evaluation.accuracy import Score


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one subnet on the validation images.

    Attributes:
        score: Its score on the images that it was evaluated on.
        wrong: The images that it got wrong, in ascending order.
        shown: The images that it was evaluated on, ascending; None for all images, with finite logits for each.
    """

    score: Score
    wrong: tuple[int, ...]
    shown: tuple[int, ...] | None = None

    @property
    def complete(self) -> bool:
        """Whether it was evaluated on every image, and not given up on the last ones."""
        return self.shown is None
