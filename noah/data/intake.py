"""Which image files of a dataset a run takes in, and how they are decoded; settled once, before anything is trained.

A file that cannot be decoded as it is stops the run, is left out, or is repaired. Nothing of this depends on more than
the files and the settings, and the run keeps it: whatever comes later reads the same images in the same way.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from noah.data.dataset import Dataset
from noah.data.decoding import AS_STORED, WHOLE_DEPTH, Decoding
from noah.data.split import Split, decoded, select
from noah.data.survey import DamagedImage, Survey, UnusualImage, survey
from noah.errors import DataError, UnreadableImageError
from noah.files.atomic import write_text
from noah.files.foreign_text import csv_text, printable
from noah.settings.settings import DataSettings

DEFAULT_SHARE, ASKED_SHARE = 0.01, 0.1
"""The shares of the images that may be left out: where nobody said anything, and where --damaged skip was typed."""
_TOLD = 5
"""How many files a message names; the others are counted."""
_PURPOSE = {"train": "training", "validation": "validation", "retrain": "final training", "test": "testing"}

Progress = Callable[[int, int], None]
Done = Literal["repaired", "left out", "refused"]


@dataclass(frozen=True, slots=True)
class DamagePolicy:
    """What happens to damaged images.

    Attributes:
        repair: Whether those of which a part can be decoded are used.
        share: The share of all images that may be left out; 0 stops at the first.
        share_is_set: Whether a setting says what share --damaged skip leaves out.
    """

    repair: bool
    share: float
    share_is_set: bool = False

    @classmethod
    def of(cls, data: DataSettings) -> DamagePolicy:
        """Repair what can be, and leave out up to 1 %, unless the settings say otherwise."""
        asked = data.damaged
        share = data.damaged_share or (ASKED_SHARE if asked == "skip" else DEFAULT_SHARE)
        return cls(
            repair=asked in (None, "repair"),
            share=share if asked in (None, "skip") else 0.0,
            share_is_set=data.damaged_share is not None,
        )


@dataclass(frozen=True, slots=True)
class Listed:
    """A damaged image, the split that it is in, and what was done about it."""

    part: str
    image: DamagedImage
    done: Done


@dataclass(frozen=True, slots=True)
class Intake:
    """How a run reads its images.

    Attributes:
        decoding: How they are decoded.
        left_out: The places of those that are left out in each split of the dataset: train, validation and retrain.
        listed: All damaged images; known only where they were looked for.
        notes: A sentence for each thing that is worth telling.
    """

    decoding: Decoding = AS_STORED
    left_out: Mapping[str, tuple[int, ...]] | None = None
    listed: tuple[Listed, ...] = ()
    notes: tuple[str, ...] = ()

    def apply(self, dataset: Dataset) -> Dataset:
        """The dataset as a run sees it; test images are decoded alike, and none of them is opened.

        Raises:
            IndexError: If it has fewer images than those that were left out tell.
        """
        left_out = self.left_out or {}

        def kept(split: Split, part: str) -> Split:
            return without(decoded(split, self.decoding), left_out.get(part, ()))

        return replace(
            dataset,
            train=kept(dataset.train, "train"),
            validation=kept(dataset.validation, "validation"),
            retrain=None if dataset.retrain is None else kept(dataset.retrain, "retrain"),
            load_test=lambda: decoded(dataset.load_test(), self.decoding),
        )

    def to_json(self) -> dict[str, Any]:
        """What run.yaml keeps."""
        left_out = {part: list(places) for part, places in (self.left_out or {}).items() if places}
        return {"decoding": self.decoding.to_json(), "left_out": left_out, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Intake:
        """Undo `to_json`.

        Raises:
            ValueError: If it is not what `to_json` makes.
        """
        decoding, left_out = value.get("decoding", {}), value.get("left_out", {})
        if not isinstance(decoding, dict) or not isinstance(left_out, dict):
            raise ValueError("decoding and left_out are mappings")
        places = {str(part): tuple(numbers) for part, numbers in left_out.items() if isinstance(numbers, list)}
        if len(places) != len(left_out) or any(type(n) is not int or n < 0 for part in places.values() for n in part):
            raise ValueError("left_out has something else than numbers of images")
        return cls(Decoding.from_json(decoding), places)


AS_LOADED = Intake()
"""Nothing is left out, and images are decoded as they were before that was recorded."""


def without(split: Split, places: Sequence[int]) -> Split:
    """A split without the images at these places.

    Raises:
        IndexError: If it has no such places.
    """
    if not places:
        return split
    if max(places) >= len(split):
        raise IndexError(f"there is no image {max(places)} among {len(split)}")
    return select(split, np.setdiff1d(np.arange(len(split)), np.array(places, np.int64)))


def unseen(data: DataSettings) -> Intake:
    """How images are read where nobody has looked at them yet."""
    return Intake(settle_decoding(Survey(0), data))


def look(dataset: Dataset, progress: Progress | None = None) -> dict[str, Survey]:
    """Survey the images of a dataset that are not for testing, each once.

    Returns:
        For train and validation, and retrain if the last training has a split of its own, what was found there.
    """
    parts: dict[str, Split] = {"train": dataset.train, "validation": dataset.validation}
    places = {part: np.arange(len(split)) for part, split in parts.items()}
    if dataset.retrain is not None:
        known = {split.name(index) for split in parts.values() for index in range(len(split))}
        own = [index for index in range(len(dataset.retrain)) if dataset.retrain.name(index) not in known]
        parts["retrain"], places["retrain"] = dataset.retrain, np.array(own, np.int64)
    total, done, found = sum(map(len, places.values())), 0, {}
    for part, split in parts.items():

        def tell(count: int, _: int, done: int = done) -> None:
            if progress:
                progress(done + count, total)

        of_part = survey(select(split, places[part]), tell)
        found[part] = _renumbered(of_part, places[part])
        done += of_part.images
    return found


def _renumbered(found: Survey, places: np.ndarray) -> Survey:
    return replace(
        found,
        damaged=tuple(replace(image, index=int(places[image.index])) for image in found.damaged),
        unusual=tuple(replace(image, index=int(places[image.index])) for image in found.unusual),
    )


def settle(dataset: Dataset, found: Mapping[str, Survey], data: DataSettings, listing: Path | None = None) -> Intake:
    """Decide which images are left out, and how all are decoded.

    Args:
        dataset: As its source has loaded it.
        found: What `look` has found in it.
        data: The settings.
        listing: A file to list all damaged images in if they stop the run; None lists none.

    Raises:
        UnreadableImageError: If there are more damaged images than the settings allow.
        DataError: If a class has no image left to train on, or there is none to validate on.
    """
    policy, total = DamagePolicy.of(data), sum(part.images for part in found.values())
    listed = judge({part: of_part.damaged for part, of_part in found.items()}, total, policy, listing)
    names = {entry.image.name for entry in listed if entry.done == "left out"}
    left_out = {part: _places(split, names) for part, split in _parts(dataset)} if names else {}
    merged = merge(found.values())
    decoding = settle_decoding(merged, data)
    notes = (*_damage_notes(listed, total, policy), *_unusual_notes(merged, decoding, data))
    intake = Intake(decoding, left_out, listed, notes)
    _check_enough(dataset, intake.apply(dataset))
    return intake


def merge(found: Iterable[Survey]) -> Survey:
    """What is unusual about the images of several splits, as if they were one; damaged ones are not in it."""
    parts = list(found)
    largest = max((part.largest for part in parts if part.largest is not None), default=None)
    unusual = tuple(image for part in parts for image in part.unusual)
    return Survey(sum(part.images for part in parts), (), unusual, largest)


def settle_decoding(found: Survey, data: DataSettings) -> Decoding:
    """Decide how images are decoded.

    Args:
        found: What training and validation images are like together; test images have no say in it.
        data: The settings.
    """
    depth = found.bit_depth if data.bit_depth == "auto" else data.bit_depth
    return Decoding(data.alpha, depth or WHOLE_DEPTH, DamagePolicy.of(data).repair)


def judge(
    damaged: Mapping[str, Sequence[DamagedImage]],
    total: int,
    policy: DamagePolicy,
    listing: Path | None = None,
    *,
    in_eval: bool = False,
) -> tuple[Listed, ...]:
    """Decide what is done about each damaged image.

    Args:
        damaged: The damaged images of each split.
        total: The number of all images.
        policy: What may be done.
        listing: A file to list them in if they are too many.
        in_eval: Whether it is `noah eval` that refuses them, which has other options than the start of a run.

    Raises:
        UnreadableImageError: If more images would be left out than may be.
    """
    every = [(part, image) for part, images in damaged.items() for image in images]
    lost = [image for _, image in every if not (policy.repair and image.repairable)]
    if lost and len(lost) / total > policy.share:
        if listing is not None:
            write_listing(listing, [Listed(part, image, "refused") for part, image in every])
        raise _too_many(lost, total, policy, listing, in_eval=in_eval)
    return tuple(
        Listed(part, image, "repaired" if policy.repair and image.repairable else "left out") for part, image in every
    )


def write_listing(path: Path, listed: Iterable[Listed]) -> None:
    """List damaged images in a CSV file: the split, the file, what was done, and why."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["split", "file", "done", "reason"])
    for entry in listed:
        cells = (entry.part, printable(entry.image.name), entry.done, printable(entry.image.reason))
        writer.writerow(map(csv_text, cells))
    write_text(path, text.getvalue())


def _parts(dataset: Dataset) -> list[tuple[str, Split]]:
    parts = [("train", dataset.train), ("validation", dataset.validation)]
    return parts if dataset.retrain is None else [*parts, ("retrain", dataset.retrain)]


def _places(split: Split, names: set[str]) -> tuple[int, ...]:
    return tuple(index for index in range(len(split)) if split.name(index) in names)


def _check_enough(whole: Dataset, left: Dataset) -> None:
    """Refuse to go on if leaving images out has emptied a class or a split."""
    gone = np.setdiff1d(whole.train.labels, left.train.labels)
    if len(gone):
        names = ", ".join(whole.classes[label] for label in gone[:_TOLD]) + (", ..." if len(gone) > _TOLD else "")
        raise DataError(
            f"No training image of a class can be read: {names}.", "Repair these files, or remove the class."
        )
    if not len(left.validation):
        raise DataError("No validation image can be read.", "Repair these files, or add others.")


def _too_many(
    lost: Sequence[DamagedImage], total: int, policy: DamagePolicy, listing: Path | None, *, in_eval: bool
) -> UnreadableImageError:
    allowed = ""
    if policy.share:
        allowed = f", which is {_percent(len(lost) / total)}; up to {_percent(policy.share)} may be left out"
    lines = [f"{len(lost):,} of {total:,} images cannot be read{allowed}:", *_named(lost)]
    hints = ["Repair these files, or remove them, and run the command again."]
    if listing is not None:
        hints.append(f"All are listed in {printable(listing)}.")
    extras = sorted({image.missing for image in lost if image.missing})
    hints += [f"For some, type pip install 'noah-prompt-search[{extra}]'." for extra in extras]
    if in_eval:
        # A JPEG without its end is decoded as in the run's own images, whatever is typed now.
        if len(lost) <= ASKED_SHARE * total and policy.share < ASKED_SHARE:
            hints.append(f"noah eval --damaged skip leaves out up to {_percent(ASKED_SHARE)}.")
        return UnreadableImageError("\n".join(lines), " ".join(hints))
    if any(image.repairable for image in lost) and not policy.repair:
        hints.append("Those that only lack their end can be used: --damaged repair.")
    share = len(lost) / total
    if share <= ASKED_SHARE and policy.share < ASKED_SHARE and not policy.share_is_set:
        hints.append(f"--damaged skip leaves out up to {_percent(ASKED_SHARE)}.")
    elif policy.share or policy.share_is_set:
        hints.append(f"--damaged skip --set data.damaged_share={_above(share)} leaves them out.")
    return UnreadableImageError("\n".join(lines), " ".join(hints))


def _above(share: float) -> str:
    """A share that is not smaller, with few digits."""
    return f"{min(1.0, np.ceil(share * 100) / 100):g}"


def _named(images: Sequence[DamagedImage]) -> list[str]:
    lines = [f"  {printable(image.name)}: {image.reason}" for image in images[:_TOLD]]
    return [*lines, f"  and {len(images) - _TOLD:,} more"] if len(images) > _TOLD else lines


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _damage_notes(listed: Sequence[Listed], total: int, policy: DamagePolicy) -> list[str]:
    notes = []
    for done, what in (
        ("repaired", "end too early and are decoded as far as they go, gray below, as browsers show them"),
        ("left out", f"cannot be read and are left out; up to {_percent(policy.share)} may be"),
    ):
        images = [entry.image for entry in listed if entry.done == done]
        if images:
            few = "; ".join(f"{printable(image.name)} ({image.reason.removesuffix('.')})" for image in images[:_TOLD])
            more = f"; and {len(images) - _TOLD:,} more" if len(images) > _TOLD else ""
            notes.append(f"{len(images):,} of {total:,} images {what}: {few}{more}.")
    return notes


def _unusual_notes(found: Survey, decoding: Decoding, data: DataSettings) -> list[str]:
    notes = []
    if clear := found.of_kind("transparent"):
        how = {
            "white": "they are laid on white; --alpha black or ignore changes that",
            "black": "they are laid on black, as --alpha says",
            "ignore": "the colors stored under transparent pixels are used, as --alpha says",
        }[decoding.alpha]
        notes.append(f"{len(clear):,} of {found.images:,} images are transparent in places: {how}.")
    if deep := found.of_kind("16 bits"):
        why = f"the largest value is {found.largest:,}" if data.bit_depth == "auto" else "as --bit-depth says"
        notes.append(
            f"{len(deep):,} of {found.images:,} images have 16 bits a channel; their values are read as "
            f"{decoding.bit_depth} bits ({why}), so that {2**decoding.bit_depth - 1:,} is white."
        )
        if found.largest is not None and found.largest >= 2**decoding.bit_depth:
            notes.append(
                f"WARNING: some values, up to {found.largest:,}, are beyond {decoding.bit_depth} bits and become white."
            )
    for kind, what in (
        ("reduced", "have too many pixels for their own size and are decoded at a half, a quarter or an eighth of it"),
        ("several frames", "hold several frames or pages, of which the first is used"),
    ):
        if images := [image for image in found.unusual if image.kind == kind]:
            notes.append(f"{len(images):,} of {found.images:,} images {what}{_such_as(images)}.")
    return notes


def _such_as(images: Sequence[UnusualImage]) -> str:
    return f", such as {printable(images[0].name)}"


@dataclass(frozen=True, slots=True)
class OpenedTest:
    """A test split that was looked at when it was opened.

    Attributes:
        split: The images that are measured.
        left_out: The names of those that cannot be read.
        repaired: How many end too early and are measured as far as they go.
        total: The number of all its images.
        notes: A sentence for each thing that is worth telling.
        listed: All damaged images, and what was done about each.
    """

    split: Split
    left_out: tuple[str, ...]
    repaired: int
    total: int
    notes: tuple[str, ...]
    listed: tuple[Listed, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """What a result keeps, besides its figures: nothing if every image was measured as it is."""
        found: dict[str, Any] = {}
        if self.left_out:
            found["left_out"] = {"of": self.total, "images": [printable(name) for name in self.left_out]}
        if self.repaired:
            found["repaired"] = self.repaired
        return found


def open_test(
    split: Split,
    decoding: Decoding,
    data: DataSettings,
    progress: Progress | None = None,
    listing: Path | None = None,
) -> OpenedTest:
    """Look at a test split, and leave out what cannot be read, within the share that the settings allow.

    Args:
        split: The test split.
        decoding: How its images are decoded.
        data: The settings.
        progress: Called with the number of images looked at so far and the number of all images.
        listing: A file to list all damaged images in if there are too many; None lists none.

    Raises:
        UnreadableImageError: If there are more such images.
    """
    return settle_test(split, survey(split, progress), decoding, data, listing)


def settle_test(
    split: Split, found: Survey, decoding: Decoding, data: DataSettings, listing: Path | None = None
) -> OpenedTest:
    """Decide what is left out of a test split, once its images were looked at; `open_test` describes the rest.

    Raises:
        UnreadableImageError: If there are more such images than the settings allow.
    """
    policy = replace(DamagePolicy.of(data), repair=decoding.repair)
    listed = judge({"test": found.damaged}, found.images, policy, listing, in_eval=True)
    lost = [entry.image for entry in listed if entry.done == "left out"]
    notes = _damage_notes(listed, found.images, policy)
    if found.largest is not None and found.largest >= 2**decoding.bit_depth:
        notes.append(
            f"WARNING: values of 16-bit images, up to {found.largest:,}, are beyond the {decoding.bit_depth} bits of "
            "the training images and become white."
        )
    return OpenedTest(
        without(split, [image.index for image in lost]),
        tuple(image.name for image in lost),
        len(listed) - len(lost),
        found.images,
        tuple(notes),
        listed,
    )
