"""What is damaged and what is unusual about the image files of a split, found out before anything is trained on them.

`survey` opens every image of the split that it is given, so it must not be given a test split before `noah eval`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noah.data.decode import Inspection, Unusual, inspect_image
from noah.data.deep import depth_of
from noah.data.in_threads import in_threads
from noah.data.split import FileSplit, Split
from noah.errors import UnreadableImageError

_AHEAD = 64
"""Images handed to the threads ahead, which keeps them busy."""
_TOLD_EACH = 64
"""Images between two words of progress."""


@dataclass(frozen=True, slots=True)
class DamagedImage:
    """An image that cannot be decoded as it is.

    Attributes:
        index: Its place in the split.
        name: Its path, or its name in an archive or dataset.
        reason: Why, in a few words that end with a period.
        repairable: Whether a part of it can be decoded.
        missing: The extra that has to be installed for its format, such as heic; empty if it is the file that is wrong.
    """

    index: int
    name: str
    reason: str
    repairable: bool = False
    missing: str = ""


@dataclass(frozen=True, slots=True)
class UnusualImage:
    """An image that can be decoded, but in more than one way or not as a whole.

    Attributes:
        index: Its place in the split.
        name: Its path, or its name in an archive or dataset.
        kind: What is unusual about it.
    """

    index: int
    name: str
    kind: Unusual


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a split.

    Attributes:
        images: How many images it has.
        damaged: Those that cannot be decoded as they are, in order.
        unusual: Those that are unusual, in order; an image that is so in two ways is in it twice.
        largest: The largest value of all images with 16 bits a channel; None if there are none.
    """

    images: int
    damaged: tuple[DamagedImage, ...] = ()
    unusual: tuple[UnusualImage, ...] = ()
    largest: int | None = None

    @property
    def bit_depth(self) -> int | None:
        """How many bits the values of 16-bit images seem to use: 8, 10, 12, 14 or 16; None if there are none."""
        return None if self.largest is None else depth_of(self.largest)

    def of_kind(self, kind: Unusual) -> tuple[UnusualImage, ...]:
        """The images that are unusual in one way."""
        return tuple(image for image in self.unusual if image.kind == kind)

    @property
    def missing(self) -> dict[str, int]:
        """How many images need an extra that is not installed, by its name."""
        return dict(Counter(image.missing for image in self.damaged if image.missing))


def survey(
    split: Split,
    progress: Callable[[int, int], None] | None = None,
    also: Callable[[int, Inspection], None] | None = None,
) -> Survey:
    """Decode every image of a split once, in threads and in constant memory, and tell what was found.

    Images that are in no files cannot be damaged and are not opened.

    Args:
        split: The images; never those of a test set before it is opened.
        progress: Called with the number of images looked at so far and the number of all images.
        also: Called in the threads with each image's place, and what it is like.
    """

    def look(index: int) -> Inspection:
        source = split.source(index)
        found = Inspection() if source is None else inspect_image(source)
        if also:
            also(index, found)
        return found

    damaged: list[DamagedImage] = []
    unusual: list[UnusualImage] = []
    largest: int | None = None
    with closing(in_threads(range(len(split)), look, ahead=_AHEAD)) as looked:
        for index, found in looked:
            if isinstance(found, UnreadableImageError):  # its bytes could not even be found
                found = Inspection(damage=found.cause)
            if found.damage:
                damaged.append(DamagedImage(index, split.name(index), found.damage, found.repairable, found.missing))
            unusual += [UnusualImage(index, split.name(index), kind) for kind in found.unusual]
            if found.largest is not None:
                largest = max(largest or 0, found.largest)
            done = index + 1
            if progress and (done % _TOLD_EACH == 0 or done == len(split)):
                progress(done, len(split))
    return Survey(len(split), tuple(damaged), tuple(unusual), largest)


def survey_paths(paths: Sequence[Path], progress: Callable[[int, int], None] | None = None) -> Survey:
    """Do the same for files, whatever their labels."""
    return survey(FileSplit(tuple(paths), np.zeros(len(paths), np.int64)), progress)
