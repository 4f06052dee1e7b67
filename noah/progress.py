"""How a stage tells what it is doing, without knowing who listens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bar(Protocol):
    """The progress of one piece of work."""

    def update(self, done: float, text: str = "") -> None:
        """Tell how many units are done, parts of one included, and a few words such as the current loss."""
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

    def update(self, done: float, text: str = "") -> None:
        """Ignore it."""

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Give a bar that ignores updates."""
        yield self
