"""What is to be known of a dataset before anything is trained on it: all of its images are opened, the test set's, too.

Nothing is written, and no image is kept: of each there are two hashes, its size and its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from noah.checks.suspicious_labels import Suspicion, suspicious_labels
from noah.data.dataset import Dataset, class_counts
from noah.data.decode import Inspection
from noah.data.decoding import Decoding
from noah.data.duplicates import Hashed, Overlap, Pairs, copies_told, other_labels, overlaps, repeated
from noah.data.image_hash import Hasher
from noah.data.in_threads import in_threads
from noah.data.intake import merge, settle, settle_decoding, settle_test
from noah.data.sources.registry import load_dataset
from noah.data.split import Split, concatenate, decoded, groups_of, select
from noah.data.survey import DamagedImage, Survey, survey
from noah.errors import DataError, NoahError, NoTestSplitError, UnreadableImageError
from noah.progress import Listener
from noah.settings.settings import DataSettings, Settings

if TYPE_CHECKING:
    from noah.backbone.load import Backbone

TRAINING, VALIDATION, TEST = "training", "validation", "test"
_BATCH = 32
"""Images that the backbone sees at once."""
_AHEAD = 64
"""Images handed to the threads ahead, which keeps them busy."""
LONG = 3
"""How many times longer than wide an image has to be to be called unusual."""


@dataclass(frozen=True, slots=True, eq=False)
class CheckedSplit:
    """One split, all of whose images were opened.

    Attributes:
        hashed: The images and their hashes.
        survey: What is damaged or unusual.
        sizes: Width and height of each image as it is decoded, uint32 (n, 2); 0 of those that cannot be.
        repeats: The places of images that are there more than once.
    """

    hashed: Hashed
    survey: Survey
    sizes: NDArray[np.uint32]
    repeats: Sequence[Sequence[int]]

    @property
    def split(self) -> Split:
        """The images."""
        return self.hashed.split

    @property
    def contradictions(self) -> list[list[int]]:
        """Those repeated images that do not have the same label each time."""
        return other_labels(self.hashed, self.repeats)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a run would refuse the dataset, and what to do."""

    problem: str
    hint: str


@dataclass(frozen=True, slots=True, eq=False)
class DatasetCheck:
    """What was found.

    Attributes:
        dataset: As a run loads it.
        splits: Training, validation and, if there is one, test.
        no_test: Why there is no test set; empty if there is one.
        notes: What a run says about damaged and unusual images.
        overlaps: What every two splits have in common.
        parted: How many groups have images for testing and others; None if there are no groups.
        suspicions: Labels that are probably wrong, among the images of all splits one after the other that can be read;
            None if nobody asked.
        readable: The places of these images among all.
        refusals: What a run would refuse.
    """

    dataset: Dataset
    splits: Mapping[str, CheckedSplit]
    no_test: str
    notes: Sequence[str]
    overlaps: Sequence[Overlap]
    parted: int | None
    suspicions: Sequence[Suspicion] | None
    readable: NDArray[np.int64]
    refusals: Sequence[Refusal]

    @property
    def sizes(self) -> NDArray[np.uint32]:
        """Width and height of all images that can be decoded, (n, 2)."""
        sizes = np.concatenate([part.sizes for part in self.splits.values()])
        known: NDArray[np.uint32] = sizes[sizes.any(axis=1)]
        return known

    @property
    def everything(self) -> Split:
        """The images of all splits, one after the other."""
        return _joined([part.split for part in self.splits.values()])

    def suspicious(self) -> list[tuple[str, Suspicion]]:
        """The names of the images whose labels are probably wrong, with what their neighbors say."""
        every = self.everything
        return [(every.name(int(self.readable[found.index])), found) for found in self.suspicions or ()]

    def to_json(self) -> dict[str, Any]:
        """Everything that was found, with the names of all images that it concerns."""
        return {
            "name": self.dataset.name,
            "classes": list(self.dataset.classes),
            "notes": [*self.dataset.notes, *self.notes],
            "no_test": self.no_test,
            "splits": {name: self._split(part) for name, part in self.splits.items()},
            "overlaps": [self._overlap(overlap) for overlap in self.overlaps],
            "groups": None if (groups := groups_of(self.splits[TRAINING].split)) is None else len(set(groups) - {None}),
            "parted_groups": self.parted,
            "suspicious_labels": self.suspicions
            and [
                {
                    "image": name,
                    "label": self.dataset.classes[found.label],
                    "neighbors": self.dataset.classes[found.other],
                    "agreeing": found.agreeing,
                    "of": found.neighbors,
                }
                for name, found in self.suspicious()
            ],
            "refusals": [{"problem": refusal.problem, "hint": refusal.hint} for refusal in self.refusals],
        }

    def _split(self, part: CheckedSplit) -> dict[str, Any]:
        widths, counts = np.unique(part.sizes[part.sizes.any(axis=1)], axis=0, return_counts=True)
        split = part.split
        return {
            "images": len(split),
            "classes": class_counts(split, self.dataset.classes),
            "sizes": [[*size, count] for size, count in zip(widths.tolist(), counts.tolist(), strict=True)],
            "damaged": [
                {"image": image.name, "reason": image.reason, "repairable": image.repairable, "missing": image.missing}
                for image in part.survey.damaged
            ],
            "unusual": [{"image": image.name, "kind": image.kind} for image in part.survey.unusual],
            "repeated": [[split.name(index) for index in group] for group in part.repeats],
            "repeated_with_other_labels": [[split.name(index) for index in group] for group in part.contradictions],
        }

    def _overlap(self, overlap: Overlap) -> dict[str, Any]:
        return {
            "splits": [overlap.first, overlap.second],
            "copies": overlap.copies,
            "exact": self.names(overlap, overlap.exact),
            "near": None if overlap.near is None else self.names(overlap, overlap.near),
        }

    def names(self, overlap: Overlap, pairs: Pairs) -> list[tuple[str, str]]:
        """The names of images that two splits have in common."""
        one, other = (self.splits[name].split for name in (overlap.first, overlap.second))
        return [(one.name(first), other.name(second)) for first, second in pairs.tolist()]


def check_dataset(settings: Settings, listener: Listener, *, labels: bool) -> DatasetCheck:
    """Open every image of a dataset, and find out what is in it; no image is kept.

    Args:
        settings: Name the dataset, how it is read and split, and the backbone.
        listener: Receives the progress.
        labels: Whether to look for labels that are probably wrong, with the backbone's features.

    Raises:
        DataError: If a run would refuse the dataset before it opens any image.
        MissingPackageError: If something has to be installed.
        UsageError: If there is no such dataset, or an option does not go with it.
        BackboneError: If the backbone cannot be loaded.
    """
    data = settings.data
    dataset = load_dataset(data, settings.seed)
    backbone = _load(settings) if labels else None
    refusals: list[Refusal] = []
    parts, no_test = {TRAINING: dataset.train, VALIDATION: dataset.validation}, ""
    try:
        parts[TEST] = dataset.load_test()
    except NoTestSplitError as error:
        no_test = error.problem
    except DataError as error:
        no_test = error.problem
        refusals.append(_refusal(error))
    splits, decoding = _open_all(parts, data, listener)
    notes = _settle(dataset, splits, decoding, data, refusals)
    hashed = {name: part.hashed for name, part in splits.items()}
    common = overlaps(hashed)
    refusals += [
        Refusal(copies_told(overlap, hashed), "Leave those images out of one of them, or type --allow-copies.")
        for overlap in common
        if overlap.copies and not data.allow_copies
    ]
    readable = np.flatnonzero(np.concatenate([part.hashed.hashes.exact for part in splits.values()]))
    return DatasetCheck(
        dataset,
        splits,
        no_test,
        notes,
        common,
        _parted(splits),
        None if backbone is None else _suspicions(splits, readable, backbone, listener),
        readable,
        refusals,
    )


def _refusal(error: NoahError) -> Refusal:
    return Refusal(error.problem, error.hint)


def _open_all(
    parts: Mapping[str, Split], data: DataSettings, listener: Listener
) -> tuple[dict[str, CheckedSplit], Decoding]:
    """Look at all images, settle how a run would decode them, and hash them so decoded.

    How images of 16 bits a channel are decoded may depend on all of them, so these are hashed last.
    """
    opened = {name: _Opening(split, data) for name, split in parts.items()}
    found, done = {}, 0
    with listener.bar("checking all images", sum(map(len, parts.values())), "images") as bar:
        for name, opening in opened.items():
            found[name] = opening.survey(lambda some, _, done=done: bar.update(done + some))  # type: ignore[misc]
            done += len(opening.images)
    decoding = settle_decoding(merge((found[TRAINING], found[VALIDATION])), data)
    if left := sum(len(opening.deep) for opening in opened.values()):
        done = 0
        with listener.bar(f"hashing images of {decoding.bit_depth} bits", left, "images") as bar:
            for opening in opened.values():
                for _ in opening.hash_deep(decoding):
                    done += 1
                    bar.update(done)
    return {name: opening.checked(found[name], decoding) for name, opening in opened.items()}, decoding


class _Opening:
    """The hashes and sizes of the images of one split, as they are collected."""

    def __init__(self, images: Split, data: DataSettings) -> None:
        self.images = images
        self.deep: list[int] = []
        """The places of those whose decoding is not settled before all were looked at."""
        self._waits = data.bit_depth == "auto"
        self._known = settle_decoding(Survey(0), data)  # right for all but these
        self._hasher = Hasher(len(images), near=data.near_duplicates)
        self._sizes = np.zeros((len(images), 2), np.uint32)
        self._failed: list[DamagedImage] = []
        """Those that looked whole or repairable, and could not be opened."""

    def survey(self, progress: Callable[[int, int], None]) -> Survey:
        split = decoded(self.images, self._known)

        def also(index: int, found: Inspection) -> None:
            if found.damage and not (found.repairable and self._known.repair):
                return
            if self._waits and "16 bits" in found.unusual:
                self.deep.append(index)
            else:
                self._open(split, index)

        return survey(split, progress, also)

    def hash_deep(self, decoding: Decoding) -> Iterator[None]:
        split = decoded(self.images, decoding)
        places = sorted(self.deep)  # the threads found them in any order
        with closing(in_threads(places, lambda index: self._open(split, index), ahead=_AHEAD)) as hashed:
            for _ in hashed:
                yield

    def checked(self, found: Survey, decoding: Decoding) -> CheckedSplit:
        hashed = Hashed(decoded(self.images, decoding), self._hasher.hashes())
        damaged = {image.index: image for image in (*found.damaged, *self._failed)}
        found = replace(found, damaged=tuple(damaged[index] for index in sorted(damaged)))
        return CheckedSplit(hashed, found, self._sizes, repeated(hashed))

    def _open(self, split: Split, index: int) -> None:
        try:
            image = split.open(index)
        except UnreadableImageError as error:
            self._failed.append(DamagedImage(index, split.name(index), error.cause))
            return
        self._hasher.look(index, image)
        self._sizes[index] = image.size


def _settle(
    dataset: Dataset,
    splits: Mapping[str, CheckedSplit],
    decoding: Decoding,
    data: DataSettings,
    refusals: list[Refusal],
) -> list[str]:
    """What a run says about damaged and unusual images, or why it stops."""
    notes: list[str] = []
    try:
        found = {"train": splits[TRAINING].survey, "validation": splits[VALIDATION].survey}
        notes += settle(dataset, found, data).notes
    except DataError as error:
        refusals.append(_refusal(error))
    if TEST in splits:
        try:
            notes += settle_test(splits[TEST].split, splits[TEST].survey, decoding, data).notes
        except DataError as error:
            refusals.append(_refusal(error))
    return notes


def _parted(splits: Mapping[str, CheckedSplit]) -> int | None:
    """How many groups have images for testing and others."""
    groups = {name: set(groups_of(part.split) or ()) - {None} for name, part in splits.items()}
    if not any(groups.values()):
        return None
    return len(groups.get(TEST, set()) & (groups[TRAINING] | groups[VALIDATION]))


def _joined(splits: Sequence[Split]) -> Split:
    joined = splits[0]
    for split in splits[1:]:
        joined = concatenate(joined, split)
    return joined


def _load(settings: Settings) -> Backbone:
    from noah.hardware.device import choose_hardware
    from noah.prepare.context import place_backbone

    return place_backbone(settings, choose_hardware(settings.hardware))


def _suspicions(
    splits: Mapping[str, CheckedSplit], readable: NDArray[np.int64], backbone: Backbone, listener: Listener
) -> list[Suspicion]:
    from noah.backbone.families.registry import view_of
    from noah.backbone.features import image_features
    from noah.data.pixels.pixels import load_pixels
    from noah.data.pixels.to_inputs import to_images

    split = select(_joined([part.split for part in splits.values()]), readable)
    pixels = load_pixels(split, backbone.preprocessing, memory_limit=0)
    device = view_of(backbone.model).weight.device
    batches = []
    with listener.bar("computing features", len(split), "images") as bar:
        for start in range(0, len(split), _BATCH):
            stop = min(start + _BATCH, len(split))
            images = to_images(pixels.batch(np.arange(start, stop)), backbone.preprocessing, device)
            batches.append(image_features(backbone.model, images).float().cpu().numpy())
            bar.update(stop)
    copies = np.concatenate([part.hashed.hashes.exact for part in splits.values()])[readable]
    return suspicious_labels(np.concatenate(batches), split.labels, copies)


def shorter(name: str, data: DataSettings) -> str:
    """An image's name without the folder of the dataset, which is the same for all."""
    folder = Path(data.folder or data.root)
    path = Path(name)
    for root in (folder, folder.parent):
        if root != Path() and path.is_relative_to(root) and path != root:
            return path.relative_to(root).as_posix()
    return name
