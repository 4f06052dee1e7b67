"""How a stage tells what it is doing, without knowing who listens; and numbers of things in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TrainingDetail:
    """What can be told of a training beside its epochs.

    Attributes:
        images: Of an epoch.
        losses: The mean of each finished epoch.
        stage: What is trained: supernet, retrain, or finalist and its number in the search.
        learning_rate: Of the last step; None before the first.
    """

    images: int
    losses: tuple[float, ...]
    stage: str = "training"
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True)
class CandidateDetail:
    """What can be told of a candidate that was shown every image.

    Attributes:
        index: Its number in the search.
        accuracy: On the validation images.
        parameters: Its trainable parameters.
    """

    index: int
    accuracy: float
    parameters: int


@dataclass(frozen=True, slots=True)
class SearchDetail:
    """What can be told of a search beside the number of its candidates.

    Attributes:
        generation: That which is being evaluated, from 1.
        generations: Of the whole search.
        accuracies: The best accuracy so far, after each finished candidate.
        best: Number of the best candidate.
        uses: What the best costs of each bound: its words, and its share of the limit.
        given_up: Candidates that a race gave up.
        images_shown: Images that were looked at.
        images_of_all: Images that a full evaluation of the finished candidates would have looked at.
        measured: The candidates whose accuracy is known, by their index; those that a race gave up have none.
    """

    generation: int
    generations: int
    accuracies: tuple[float, ...]
    best: int
    uses: tuple[tuple[str, float], ...]
    given_up: int
    images_shown: int
    images_of_all: int
    measured: tuple[CandidateDetail, ...] = ()


Detail = TrainingDetail | SearchDetail


class Bar(Protocol):
    """The progress of one piece of work."""

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        """Tell how many units are done, parts of one included, a few words such as the current loss, and details."""
        ...


class Listener(Protocol):
    """Takes what a stage tells; the command line prints it."""

    def say(self, text: str) -> None:
        """Take a finished sentence or line."""
        ...

    def bar(self, title: str, total: int, unit: str) -> AbstractContextManager[Bar]:
        """Open a progress bar over `total` units; it closes when its `with` block ends."""
        ...


class Silent:
    """A listener, and a bar, that ignore everything."""

    def say(self, text: str) -> None:
        """Ignore it."""

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        """Ignore it."""

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Give a bar that ignores updates."""
        yield self


def counted(count: int, unit: str) -> str:
    """A number and its unit, which is given in the plural: 1 image, 1,200 images."""
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"
