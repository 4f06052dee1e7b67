"""Which images the final training uses, and which it leaves out: images to stop by, and images for gates.

Without `retrain.hold_out` it uses all images. Anything measured on training or validation images afterwards is then
measured on images that the network was trained on, and `trained_on` says so. Where training starts from the weights of
an earlier run, what these have learned from is never held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from noah.data.split import (
    Split,
    grouped_hold_out,
    groups_of,
    held_out_count,
    hold_out,
    hold_out_among,
    number_groups,
    select,
)
from noah.errors import DataError, RunError
from noah.prepare.context import Materials
from noah.progress import first_of
from noah.runs.folder import Run
from noah.runs.kept_predictions import fingerprint_split
from noah.settings.settings import has_final

_HOLD_OUT = 7
"""The second word of the seed, which no stage of a run uses."""
_NEEDED = 3
"""How many images each class needs: one to learn from, one to stop by, one for gates."""
_NAMED = 5
_FILE = ("retrain", "held_out.json")
_NOT_TRAINED_ON = ", which it was not trained on"


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The images that the final training leaves out; no image is in both, and no group.

    Both parts have images of every class, unless groups have to stay together.

    Attributes:
        share: The share of all images, as set.
        stopping: The images for early stopping (`noah.stages.early_stopping`).
        gates: The images on which an artifact is measured before it is accepted.
        both: The images of either part.
    """

    share: float
    stopping: Split
    gates: Split
    both: Split


@dataclass(frozen=True, slots=True)
class FinalImages:
    """The images of the final training, and those that it leaves out, if any.

    Attributes:
        training: The images to train on.
        held_out: Those that it leaves out.
        note: Why these are fewer than the settings ask for, or none; empty if they are not.
    """

    training: Split
    held_out: HeldOut | None = None
    note: str = ""


def final_images(materials: Materials) -> FinalImages:
    """Divide the images class by class, as `retrain.hold_out` and the seed say; the result is always the same.

    Images of one group stay in one part; a part may then lack a class. Of a run that goes on from an earlier one, only
    images are held out that its weights have not seen, nor any image of their group: fewer, or none, if there are too
    few of them.

    Raises:
        DataError: If a class has too few images to be divided, or there are too few groups.
    """
    everything, share = materials.dataset.full_train, materials.settings.retrain.hold_out
    if not share:
        return FinalImages(everything)
    groups, seed = number_groups(groups_of(everything)), (materials.settings.seed, _HOLD_OUT)
    if materials.dataset.seen:
        return _of_unseen(everything, groups, share, seed, materials.dataset.seen)
    if groups is None:
        _check_enough(materials)
        parts = hold_out(everything.labels, share, seed)
    else:
        parts = grouped_hold_out(everything.labels, groups, share, seed)
        _check_groups(share, *(len(part) for part in parts))
    return _divided(everything, share, parts)


def images_of_finalists(materials: Materials) -> Split:
    """The training images; without those that the final training holds out, if finalists teach the winner.

    Raises:
        DataError: If no image of a class is left, which the finalists would then teach the winner never to predict.
    """
    train, settings = materials.dataset.train, materials.settings
    if settings.retrain.teachers == "none" or not has_final(settings.search):
        return train
    held_out = final_images(materials).held_out
    if held_out is None:
        return train
    names = {held_out.both.name(index) for index in range(len(held_out.both))}
    left = select(train, np.array([index for index in range(len(train)) if train.name(index) not in names], np.int64))
    gone = [materials.dataset.classes[label] for label in sorted({*train.labels.tolist()} - {*left.labels.tolist()})]
    if gone:
        raise DataError(
            f"retrain.hold_out={held_out.share:g} leaves the finalists, which teach the winner, no training image of "
            f"{first_of(gone, _NAMED)}.",
            "Add images of that class, or type --set retrain.teachers=none or --set retrain.hold_out=0.",
        )
    return left


def _divided(everything: Split, share: float, parts: Sequence[np.ndarray], note: str = "") -> FinalImages:
    training, stopping, gates = (select(everything, indices) for indices in parts)
    both = select(everything, np.sort(np.concatenate(parts[1:])))
    return FinalImages(training, HeldOut(share, stopping, gates, both), note)


def _of_unseen(
    everything: Split, groups: np.ndarray | None, share: float, seed: Sequence[int], seen: frozenset[str]
) -> FinalImages:
    """Hold out images that the weights which training starts from have not learned from."""
    known = np.array([everything.name(index) in seen for index in range(len(everything))], bool)
    if groups is not None:
        known = np.isin(groups, groups[known])
    unseen, labels = ~known, everything.labels
    count = int(unseen.sum())
    wanted = held_out_count(labels, share) if groups is None else round(share * len(labels))
    others = "" if groups is None else " or others of their groups"
    left = f"the weights that it starts from have seen all but {count:,} of {len(labels):,} images{others}"
    asked = f"retrain.hold_out={share:g} asks for {wanted:,}"
    nothing = FinalImages(everything, None, f"none, where {asked}: {left}")
    if count < 2:
        return nothing
    if groups is None:
        parts = hold_out_among(labels, share, seed, unseen)
    else:
        # Groups come whole: if few are unseen, the first part would take all of them for half of the share.
        parts = grouped_hold_out(labels, groups, min(share, count / len(labels)), seed, unseen)
    if not (len(parts[1]) and len(parts[2])):
        return nothing
    held = len(parts[1]) + len(parts[2])
    few = held < wanted and (groups is None or count < wanted)
    of_classes = ", too few of some classes" if count >= wanted else ""
    return _divided(everything, share, parts, f"{held:,}, where {asked}: {left}{of_classes}" if few else "")


def describe_held_out(final: FinalImages, materials: Materials) -> dict[str, object] | None:
    """Describe what a final training leaves out, for files: the share, numbers of images, and their fingerprints."""
    if final.held_out is None:
        return None
    parts = {"stopping": final.held_out.stopping, "gates": final.held_out.gates}
    classes = materials.dataset.classes
    described = {
        name: {"images": len(split), "fingerprint": fingerprint_split(split, classes)} for name, split in parts.items()
    }
    return {"share": final.held_out.share, **described}


def keep_held_out(run: Run, described: dict[str, object] | None) -> None:
    """Record what a final training leaves out when it begins, and compare the record when it is resumed.

    Raises:
        RunError: If it left out other images when it began.
    """
    path = run.path(*_FILE)
    if path.exists():
        check_held_out(run, run.read_json(*_FILE), described)
    elif described is not None:
        run.write_json(described, *_FILE)


def check_held_out(run: Run, stored: object, described: dict[str, object] | None) -> None:
    """Refuse to treat images as held out if the network was trained on them.

    Args:
        run: The run that is named in the error.
        stored: What the training recorded.
        described: What would be held out now.

    Raises:
        RunError: If they differ.
    """
    if stored != described:
        raise RunError(
            f"The final training of {run.name} left out other images than its settings and images now say.",
            "Restore both as they were when it began, or train the subnet in a new run: noah retrain --subnet",
        )


def gate_images(materials: Materials) -> tuple[Split, str]:
    """The images on which a gate measures the final network, and what they are: held out, or else for validation."""
    held = final_images(materials).held_out
    name = materials.dataset.name
    if held is not None:
        return held.gates, f"{len(held.gates):,} images of {name} that were held out of its training"
    split = materials.dataset.validation
    return split, f"{len(split):,} validation images of {name}{trained_on(split, materials)}"


def temperature_images(materials: Materials) -> tuple[Split | None, str]:
    """The images that the final network's temperature is fitted on, and what they are; or None, and why.

    Those that were held out of its training, or else the validation images, if it was not trained on them either, as
    with the shots of a few-shot dataset.
    """
    final = final_images(materials)
    held = final.held_out
    if held is not None:
        return held.both, "images held out of its training"
    if final.note:
        return None, f"held out: {final.note}"
    validation = materials.dataset.validation
    if trained_on(validation, materials) == _NOT_TRAINED_ON:
        return validation, "validation images, which it was not trained on"
    return None, "no images were held out of its training; in a new run --set retrain.hold_out=0.1 holds some out"


def calibration_images(materials: Materials) -> Split:
    """The training images from which those that calibrate an artifact are taken; none of them is held out."""
    final = final_images(materials)
    return materials.dataset.train if final.held_out is None else final.training


def trained_on(split: Split, materials: Materials) -> str:
    """Say how many of these images the final network was trained on, as a clause that follows their number."""
    trained = final_images(materials).training
    known = {trained.name(index) for index in range(len(trained))} | materials.dataset.seen
    count = sum(split.name(index) in known for index in range(len(split)))
    if count == len(split):
        return ", which it was trained on"
    return f", of which it was trained on {count:,}" if count else _NOT_TRAINED_ON


def _check_groups(share: float, kept: int, stopping: int, gates: int) -> None:
    if not (kept and stopping and gates):
        raise DataError(
            f"retrain.hold_out={share:g} needs groups to learn from, to stop by and for gates, so that no group is on "
            "two sides; there are too few that a class can do without.",
            "Add images of other groups, or train on all: --set retrain.hold_out=0",
        )


def _check_enough(materials: Materials) -> None:
    everything, classes = materials.dataset.full_train, materials.dataset.classes
    counts = np.bincount(everything.labels, minlength=len(classes))
    few = [f"{name} has {count}" for name, count in zip(classes, counts.tolist(), strict=True) if 0 < count < _NEEDED]
    if few:
        others = " have too few" if len(few) > _NAMED else ""
        raise DataError(
            f"retrain.hold_out={materials.settings.retrain.hold_out:g} needs {_NEEDED} images of every class, one to "
            f"learn from, one to stop by and one for gates: {first_of(few, _NAMED)}{others}.",
            "Add images, or train on all: --set retrain.hold_out=0",
        )
