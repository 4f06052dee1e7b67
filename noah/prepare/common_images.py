"""Images that the splits of a run have in common: found when a run begins, and with the test set when it is opened.

The images that a run begins with are decoded anyway (`noah.data.pixels.first_reading`); their hashes are taken on the
way and kept in data/hashes.npy of the run. A test set is opened for the first time by `noah eval`; its images are then
compared with these hashes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from noah.data.duplicates import Hashed, Overlap, copies_told, overlaps
from noah.data.image_hash import Hasher, Hashes
from noah.data.pixels.first_reading import Part
from noah.data.split import Split, concatenate, groups_of, watched
from noah.errors import DataError, RunError
from noah.files.atomic import atomic_file
from noah.prepare.context import Materials
from noah.prepare.held_out import final_images
from noah.progress import Listener
from noah.runs.folder import Run

HASHES, LISTED = ("data", "hashes.npy"), ("data", "duplicates.json")
"""Where a run keeps the hashes of its images, and the images that its splits have in common."""
NAMED = 100
"""How many pairs of images a result names."""
_MORE = "or type --allow-copies to go on all the same."


def first_parts(materials: Materials, *, searches: bool) -> dict[str, Part]:
    """The images that a run's first stages need, by what they are for."""
    data, settings = materials.dataset, materials.settings
    if searches:
        crops = settings.supernet.augmentation.random_resized_crop is not None
        return {"training": Part(data.train, crops), "validation": Part(data.validation)}
    final = final_images(materials)
    training = Part(final.training, settings.retrain.augmentation.random_resized_crop is not None)
    held = final.held_out
    if held is None:
        return {"training": training}
    return {"training": training, "held-out": Part(held.stopping), "gate": Part(held.gates)}


@dataclass(frozen=True, slots=True)
class CommonImages:
    """What the parts of a new run have in common.

    Attributes:
        hashed: The parts, by what they are for.
        found: What every two of them have in common.
    """

    hashed: Mapping[str, Hashed]
    found: Sequence[Overlap]

    def facts(self) -> dict[str, Any]:
        """How many images they have in common, for run.yaml."""
        return {
            f"{overlap.first}, {overlap.second}": {
                "exact": len(overlap.exact),
                **({} if overlap.near is None else {"near": len(overlap.near)}),
            }
            for overlap in self.found
        }

    def tell(self, listener: Listener) -> None:
        """Warn of them, with an example of each kind."""
        for overlap in self.found:
            one, other = (self.hashed[name].split for name in (overlap.first, overlap.second))
            for pairs, how in ((overlap.exact, "are"), (overlap.near, "are nearly the same as")):
                if pairs is not None and len(pairs):
                    first, second = pairs[0].tolist()
                    same = f"{how} {overlap.first} images, too" if how == "are" else f"{how} {overlap.first} images"
                    listener.say(
                        f"WARNING   {len(pairs):,} of {len(other):,} {overlap.second} images {same}, such as "
                        f"{other.name(second)}, which is {one.name(first)}: what is measured on them says less than it "
                        f"seems to. {'/'.join(LISTED)} in the run's folder lists all."
                    )

    def keep(self, run: Run) -> None:
        """Write the hashes, and the list of what was found, into the run's folder."""
        if not run.writes:
            return
        hashes = [part.hashes for part in self.hashed.values()]
        near = [part.near for part in hashes if part.near is not None]
        columns = [np.concatenate([part.exact for part in hashes]), *([np.concatenate(near)] if near else [])]
        path = run.path(*HASHES)
        path.parent.mkdir(exist_ok=True)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, np.stack(columns).astype("<u8"))
        if any(len(overlap.exact) or (overlap.near is not None and len(overlap.near)) for overlap in self.found):
            run.write_json([_listed(overlap, self.hashed) for overlap in self.found], *LISTED)


def _listed(overlap: Overlap, hashed: Mapping[str, Hashed]) -> dict[str, Any]:
    one, other = (hashed[name].split for name in (overlap.first, overlap.second))
    return {
        "splits": [overlap.first, overlap.second],
        "exact": _names(one, other, overlap.exact),
        "near": None if overlap.near is None else _names(one, other, overlap.near),
    }


def _names(one: Split, other: Split, pairs: NDArray[np.int64]) -> list[list[str]]:
    return [[one.name(first), other.name(second)] for first, second in pairs.tolist()]


def read_first_images(
    materials: Materials, parts: Mapping[str, Part], listener: Listener
) -> tuple[Materials, CommonImages]:
    """Decode all images of a run before it begins, and find those that its parts have in common.

    Args:
        materials: What the run works with.
        parts: The images that its first stages need, by what they are for.
        listener: Receives the progress, and warnings.

    Returns:
        Materials that keep those images that fit into memory, and what was found.

    Raises:
        UnreadableImageError: If images cannot be decoded; it counts all of them.
        DataError: If every image of one part is in another, unless `data.allow_copies` is set.
        MissingPackageError: If nearly equal images are asked for, and imagehash is not installed.
    """
    near = materials.settings.data.near_duplicates
    hashers = [Hasher(len(part.split), near=near) for part in parts.values()]

    def look(part: int, index: int, image: Image) -> None:
        hashers[part].look(index, image)

    read = materials.reading(list(parts.values()), listener, look)
    hashed = {
        name: Hashed(part.split, hasher.hashes()) for (name, part), hasher in zip(parts.items(), hashers, strict=True)
    }
    common = CommonImages(hashed, overlaps(hashed))
    if not materials.settings.data.allow_copies:
        for overlap in common.found:
            refuse_copies(overlap, hashed)
    common.tell(listener)
    return read, common


def refuse_copies(overlap: Overlap, hashed: Mapping[str, Hashed]) -> None:
    """Refuse splits of which one is a copy of the other, or of a part of it.

    Raises:
        DataError: If they are.
    """
    if overlap.copies:
        raise DataError(copies_told(overlap, hashed), f"Leave those images out of one of them, {_MORE}")


class TestImages:
    """The test images of a run, which are compared with those that it was trained on while they are measured.

    Args:
        run: The run.
        materials: Its images.
        split: The test set.

    Attributes:
        split: The same test set; give this one to whatever opens the images.
    """

    __test__ = False  # it is no test

    def __init__(self, run: Run, materials: Materials, split: Split) -> None:
        self._materials, self._plain = materials, split
        self._trained, self._why_not = _trained(run, materials)
        near = self._trained is not None and self._trained.hashes.near is not None
        self._hasher = Hasher(len(split), near=near)
        self.split = watched(split, self._hasher.look)

    def compare(self, right: NDArray[np.bool_], *, takes_copies: bool = False) -> dict[str, Any]:
        """Compare all test images, once they were opened, with those that the run began with.

        Args:
            right: Which of the test images the network classifies correctly, (n,).
            takes_copies: Whether a test set that is a copy of those images is only reported, not refused.

        Returns:
            For the result: how many are the same and nearly the same, the first of them with their twins, the accuracy
            without them, and how many groups are on both sides.

        Raises:
            DataError: If the test set is a copy of those images, unless `takes_copies` or `data.allow_copies` is set.
        """
        trained = self._trained
        if trained is None:
            return {"checked": False, "reason": self._why_not}
        hashed = {"training and validation": trained, "test": Hashed(self._plain, self._hasher.hashes())}
        (overlap,) = overlaps(hashed)
        if not (takes_copies or self._materials.settings.data.allow_copies):
            refuse_copies(overlap, hashed)
        near = np.empty((0, 2), np.int64) if overlap.near is None else overlap.near
        new = np.ones(len(right), bool)
        new[overlap.exact[:, 1]] = new[near[:, 1]] = False
        some: dict[str, Any] = {}
        if not new.all():
            pairs = np.concatenate([overlap.exact, near])[:NAMED]
            some = {
                "accuracy_without": float(right[new].mean()) if new.any() else None,
                "images": _names(trained.split, self._plain, pairs),
            }
        return {
            "checked": True,
            "exact": len(overlap.exact),
            **({} if overlap.near is None else {"near": len(near)}),
            **some,
            **_common_groups(trained.split, self._plain),
        }


def _common_groups(trained: Split, test: Split) -> dict[str, Any]:
    """How many groups, such as patients, are among the test images and the others; nothing if there are no groups."""
    both = [set(groups_of(split) or ()) - {None} for split in (trained, test)]
    return {"groups": len(both[0] & both[1])} if all(both) else {}


def _trained(run: Run, materials: Materials) -> tuple[Hashed | None, str]:
    """The images that a run began with, and their hashes; or why there are none."""
    path = run.path(*HASHES)
    parts = [part.split for part in first_parts(materials, searches="given" not in run.description()).values()]
    split = parts[0]
    for part in parts[1:]:
        split = concatenate(split, part)
    if not path.is_file():
        return None, "the run was started by a version of noah that kept no hashes of its images"
    try:
        table = np.load(path, allow_pickle=False, max_header_size=1_000)
    except (OSError, ValueError, EOFError, SyntaxError, TokenError) as error:  # NumPy reads the header as Python
        raise RunError(f"{path} is damaged: {error}", "Restore the run folder from a copy.") from error
    if table.dtype != np.dtype("<u8") or table.shape not in ((1, len(split)), (2, len(split))):
        return None, "the run's hashes are not those of its images"
    return Hashed(split, Hashes(table[0], table[1] if len(table) == 2 else None)), ""
