"""The datasets that noah draws itself, by name, in full or with a few shots of each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from noah.data.dataset import Dataset
from noah.data.sources.drawn.dsprites import load_dsprites_location, load_dsprites_orientation
from noah.data.sources.drawn.letters import load_letters, load_sans_letters
from noah.data.sources.drawn.shapes_count import load_shapes_count
from noah.data.sources.drawn.shapes_largest import load_shapes_largest
from noah.data.sources.drawn.shots import choose_shots
from noah.data.sources.source import Source, named, plain_name
from noah.settings.settings import DataSettings

RENDERED: Mapping[str, Callable[[], Dataset]] = {
    "rendered_dsprites_loc": load_dsprites_location,
    "rendered_dsprites_ori": load_dsprites_orientation,
    "rendered_letters": load_letters,
    "rendered_letters_sans": load_sans_letters,
    "shapes_count": load_shapes_count,
    "shapes_largest": load_shapes_largest,
}
"""Each has one fixed split."""


def _load(data: DataSettings, seed: int) -> Dataset:
    """Draw a dataset; `list_seed`, or else the seed, chooses its shots.

    Raises:
        MissingPackageError: If it is drawn in matplotlib's fonts, and matplotlib is not installed.
    """
    dataset = RENDERED[plain_name(data)]()
    if data.shots is None:
        return dataset
    return choose_shots(dataset, data.shots, seed if data.list_seed is None else data.list_seed)


SOURCE = Source(
    "a dataset that noah draws",
    named(RENDERED),
    _load,
    names=tuple(RENDERED),
    takes=frozenset({"shots", "list_seed"}),
)
