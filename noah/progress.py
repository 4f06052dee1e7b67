"""How a stage reports what it is doing, without knowing who listens; and counts of things in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TrainingDetail:
    """What a training run reports besides its epochs.

    Attributes:
        images: Training images per epoch.
        losses: The mean loss of each finished epoch.
        stage: What is being trained: "supernet", "retrain", or "finalist" and its number in the search.
        learning_rate: The learning rate of the last step; None before the first.
    """

    images: int
    losses: tuple[float, ...]
    stage: str = "training"
    learning_rate: float | None = None


@dataclass(frozen=True, slots=True)
class CandidateDetail:
    """What a search reports about a candidate that was scored on every image.

    Attributes:
        index: The candidate's number in the search.
        accuracy: Its accuracy on the validation set.
        parameters: The number of its trainable parameters.
    """

    index: int
    accuracy: float
    parameters: int


@dataclass(frozen=True, slots=True)
class SearchDetail:
    """What a search reports besides the number of its candidates.

    Attributes:
        generation: The generation being evaluated, counted from 1.
        generations: The number of generations in the whole search.
        accuracies: The best accuracy so far, after each finished candidate.
        best: The index of the best candidate.
        uses: For each bound, what the best candidate costs in words, and which share of the limit that is.
        given_up: How many candidates the race gave up on.
        images_shown: How many images were evaluated.
        images_of_all: How many images a full evaluation of the finished candidates would have taken.
        measured: The candidates whose accuracy is known, by index; those that the race gave up on have none.
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
        """Report how many units are done (fractions count), a few words such as the current loss, and details."""
        ...


class Listener(Protocol):
    """Receives what a stage reports; the command line prints it."""

    def say(self, text: str) -> None:
        """Receive one finished sentence or line."""
        ...

    def bar(self, title: str, total: int, unit: str) -> AbstractContextManager[Bar]:
        """Open a progress bar over `total` units; it closes when its `with` block ends."""
        ...


class Silent:
    """A listener and a bar in one that ignores everything."""

    def say(self, text: str) -> None:
        """Ignore the text."""

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        """Ignore the update."""

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Give a bar that ignores updates."""
        yield self


def joined(words: Sequence[str]) -> str:
    """Join words, of which there is at least one, as in a sentence: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def first_of(names: Sequence[str], most: int) -> str:
    """List the first names and count the others: a, b, c and 4 more.

    Args:
        names: What there is.
        most: How many names to list.
    """
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def counted(count: int, unit: str) -> str:
    """Put a number before its unit, which is passed in the plural: 1 image, 1,200 images."""
    singular = unit.removesuffix("es" if unit.endswith(("sses", "ches", "xes")) else "s")
    return f"{count:,} {singular if count == 1 else unit}"
