"""A source of images and labels as a value: which settings mean it, and how it makes a dataset of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from noah.data.dataset import Dataset
from noah.settings.settings import DataSettings


@dataclass(frozen=True, slots=True)
class Source:
    """One way in which images and labels come; `noah.data.sources.registry` lists all of them.

    Attributes:
        name: What it is called in messages, such as "a table".
        matches: Whether these settings mean this source. Nothing of a test set is opened or listed to find out.
        load: Makes the dataset, given the seed of every split that is not fixed. Nothing of a test set that lies in
            files or folders of its own is opened or listed.
        names: The values of `--dataset` that it is listed under; none for what lies at a path.
        aliases: Other values of `--dataset` that it understands.
        takes: The fields of `DataSettings` that only some sources read, and this one does.
        without: The fields of `ColumnSettings` that it has no columns for, if it takes the others.
    """

    name: str
    matches: Callable[[DataSettings], bool]
    load: Callable[[DataSettings, int], Dataset]
    names: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()


def plain_name(data: DataSettings) -> str:
    """The name of a dataset as it is compared: capitals and hyphens make no difference; empty for a path."""
    return (data.dataset or "").lower().replace("-", "_")


def named(names: Iterable[str]) -> Callable[[DataSettings], bool]:
    """Make a `Source.matches` for plain names."""
    known = frozenset(names)
    return lambda data: plain_name(data) in known
