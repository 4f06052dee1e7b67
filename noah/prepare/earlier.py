"""A run that goes on from an earlier one, with images that have grown since.

It keeps the subnet and starts from its weights; the head has a fresh row for each new class, and the rows of the other
classes are found by their names. What the earlier run was trained on is never tested on, and what it was tested on is
never trained on: these images keep their sides, new images of their groups go with them, and only the others are drawn.
What its weights have learned from is known apart, as nothing of that can be held out. The run folder holds what is
known of the earlier run, so that nothing else is needed of it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from noah.data.dataset import Dataset
from noah.data.split import Split, concatenate, groups_of, number_groups, select
from noah.errors import CommandOrderError, DataError, RunError
from noah.files.atomic import atomic_file
from noah.files.record import Record
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.progress import Listener, counted, first_of
from noah.runs.folder import Run
from noah.runs.kept_predictions import FOLDER, read_predictions
from noah.runs.run_images import hash_images, pack_hashes, read_images, unpack_hashes
from noah.runs.run_subnet import check_still_chosen
from noah.settings.settings import DataSettings
from noah.training.checkpoint import read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE

EARLIER_FILE, WEIGHTS_FILE = "earlier.json", "earlier.safetensors"
"""In the folder of a run that goes on from another."""
_HEAD = ("head.weight", "head.bias")
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Earlier(Record):
    """What is known of the earlier run.

    Attributes:
        run: Its name.
        classes: Of its head, in the order of its rows.
        trained: The hashes of its training and validation images, and of those of the runs before it, packed.
        tested: The hashes of its test images, and of those of the runs before it, packed; without its own if it was not
            tested, or an earlier version tested it.
        right: Whether each of these was classified correctly, by the last run that was tested on it.
        unseen: The hashes of those among `trained` that no final training has learned from, packed; empty if they are
            not known.
        tested_before: How many of these it was not tested on itself, but a run before it.
    """

    run: str
    classes: tuple[str, ...]
    trained: str
    tested: str = ""
    right: tuple[bool, ...] = ()
    unseen: str = ""
    tested_before: int = 0

    @property
    def trained_hashes(self) -> frozenset[str]:
        """The hashes of all images that it was searched or trained on; none of them is ever tested on."""
        return frozenset(unpack_hashes(self.trained))

    @property
    def seen_hashes(self) -> frozenset[str]:
        """The hashes of all images that its weights have learned from."""
        return self.trained_hashes - set(unpack_hashes(self.unseen))

    @property
    def tested_right(self) -> dict[str, bool]:
        """The hash of each test image -> whether it was classified correctly."""
        return dict(zip(unpack_hashes(self.tested), self.right, strict=True))


def gather_earlier(run: Run, listener: Listener) -> Earlier:
    """Gather what a run that goes on from this one has to know.

    Raises:
        CommandOrderError: If it has not been retrained, or the search has another winner since.
        RunError: If it kept no list of its images, or a file is damaged.
    """
    if not run.path("retrain", "model.json").is_file():
        raise CommandOrderError(
            f"The subnet of {run.name} has not been retrained, so there are no weights to go on from.",
            f"Type: noah retrain --run {run.option}",
        )
    check_still_chosen(run)
    images = read_images(run)
    if images is None:
        subnet = shlex.quote(str(run.path("retrain", "model.json")))
        raise RunError(
            f"{run.name} was started by an earlier version, which kept no list of its images.",
            f"Train its subnet in a new run: noah retrain --subnet {subnet} --data FOLDER",
        )
    before = read_earlier(run)
    own = (*images.train, *images.validation)
    trained = dict.fromkeys((*own, *(unpack_hashes(before.trained) if before else ())))
    seen = {*own} - {*images.held_out} | (before.seen_hashes if before else frozenset())
    if run.read_json("retrain", "model.json").get("settings", {}).get("inherit"):
        seen |= {*images.train}  # of which the supernet has seen all
    classes = tuple(run.description().get("classes", ()))
    tested = _tested(run, listener)
    forgotten = {image: right for image, right in before.tested_right.items() if image not in tested} if before else {}
    tested |= forgotten
    return Earlier(
        run=run.name,
        classes=classes,
        trained=pack_hashes(tuple(trained)),
        unseen=pack_hashes(tuple(image for image in trained if image not in seen)),
        tested=pack_hashes(tuple(tested)),
        right=tuple(tested.values()),
        tested_before=len(forgotten),
    )


def _tested(run: Run, listener: Listener) -> dict[str, bool]:
    """The hash of each image that a run itself was tested on -> whether it was classified correctly."""
    why = "was not tested"
    if run.path("eval", FOLDER, "test.json").is_file():
        predictions = read_predictions(run, "test.json")
        if predictions.images is not None:
            return dict(zip(predictions.images, predictions.right.tolist(), strict=True))
        why = "was tested by an earlier version, which kept no list of the images"
    listener.say(f"tested    {run.name} {why}, so its test images are not known: they may be drawn for training")
    return {}


def write_earlier(run: Run, earlier: Earlier, weights: Mapping[str, Tensor]) -> None:
    """Write what is known of the earlier run, and its weights, into the folder of a new one.

    The record comes last, so that where it is, the weights are, too.
    """
    with atomic_file(run.path(WEIGHTS_FILE)) as temporary:
        temporary.write_bytes(save({name: value.contiguous() for name, value in weights.items()}))
    run.write_json(earlier.to_json(), EARLIER_FILE)


def read_earlier(run: Run) -> Earlier | None:
    """Read what is known of the run that this one goes on from; None if it began by itself.

    Raises:
        RunError: If the file is damaged, or missing although run.yaml says that there is an earlier run.
    """
    if not run.path(EARLIER_FILE).is_file():
        name = (run.description().get("given") or {}).get("earlier")
        if name is None:
            return None
        raise RunError(
            f"{run.path(EARLIER_FILE)} is missing, and with it the weights of {name} that {run.name} goes on from: it "
            "was stopped while it began, or the file was removed.",
            f"Begin it again: noah retrain --from {shlex.quote(str(name))} --data FOLDER. Or restore the run folder "
            "from a copy.",
        )
    try:
        earlier = Earlier.from_json(run.read_json(EARLIER_FILE))
        unpack_hashes(earlier.trained)
        unpack_hashes(earlier.unseen)
        if len(unpack_hashes(earlier.tested)) != len(earlier.right):
            raise ValueError("it has other images than results")
    except ValueError as error:
        raise RunError(f"{run.path(EARLIER_FILE)} is damaged: {error}.", "Restore it from a copy.") from error
    return earlier


def weights_of(run: Run) -> dict[str, Tensor]:
    """The trained weights of a run's modules and head."""
    checkpoint = read_checkpoint(run.path("retrain", CHECKPOINT_FILE))
    return checkpoint.weights | checkpoint.averages


def load_earlier_weights(run: Run, model: Supernet, classes: tuple[str, ...]) -> None:
    """Start a run's network from the weights of the run that it goes on from; without one, nothing changes.

    Rows of the head belong to classes by name; those of new classes stay as they are.

    Raises:
        RunError: If the weights are missing, damaged, or of another subnet.
    """
    earlier = read_earlier(run)
    if earlier is None:
        return
    path = run.path(WEIGHTS_FILE)
    try:
        state = load(path.read_bytes())
        fresh = model.trainable_state()
        rows = {name: row for row, name in enumerate(earlier.classes)}
        for name in _HEAD:
            head, known = fresh[name].clone(), state[name]
            if len(known) != len(rows):
                raise ValueError(f"{name} has {len(known)} rows for {len(rows)} classes")
            for label, kept in enumerate(classes):
                if kept in rows:
                    head[label] = known[rows[kept]]
            state[name] = head
        model.load_trainable_state(state)
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{path} does not fit this run: {error}.", "Restore it from a copy.") from error


def with_earlier(materials: Materials, earlier: Earlier) -> tuple[Dataset, list[str]]:
    """Keep the images that the earlier run knew on their sides, and say how many there are.

    Where the test images are drawn, those that the weights have learned from are trained on again. Of a test split that
    was given as such, they are left out when it is loaded. New images stay with the known ones of their group.

    Raises:
        DataError: If none of the images is there that the earlier run was trained on, or a group has images that it was
            trained on and others that it was tested on.
    """
    dataset, data = materials.dataset, materials.settings.data
    trained = earlier.trained_hashes
    tested = frozenset(earlier.tested_right) - trained  # a copy of a training image tests nothing
    pool = concatenate(dataset.train, dataset.validation)
    held = np.repeat([False, True], [len(dataset.train), len(dataset.validation)])
    if dataset.test_is_drawn:
        drawn = dataset.load_test()
        pool, held = concatenate(pool, drawn), np.concatenate([held, np.zeros(len(drawn), bool)])
    of_test = np.arange(len(pool)) >= len(dataset.train) + len(dataset.validation)
    hashes = np.array(hash_images(pool, data))
    learned, asked = (np.isin(hashes, list(images)) for images in (trained, tested))
    sides = _sides_of_groups(pool, learned, asked, earlier.run)
    of_test = (of_test | sides.tested) & ~sides.learned
    seen = frozenset(pool.name(index) for index in np.flatnonzero(np.isin(hashes, list(earlier.seen_hashes))).tolist())
    found = int(learned.sum())
    if not found:
        raise DataError(
            f"{data.folder} holds none of the images that {earlier.run} was trained on, under the paths that they had.",
            "Name the folder or table that has grown. For other images, train the subnet in a run of its own: "
            "noah retrain --subnet",
        )
    train, validation = (select(pool, np.flatnonzero(~of_test & (held == side))) for side in (False, True))
    moved = select(pool, np.flatnonzero(of_test))
    notes = [f"Of {len(trained):,} images that {earlier.run} was trained on, {found:,} are there and not tested on."]
    if dataset.test_is_drawn:
        load_test = partial(_same, moved)
        if tested:
            notes.append(
                f"Of {len(tested):,} images that it was tested on, {asked.sum():,} are there and tested on again."
            )
    else:
        load_test = partial(_given_test, dataset, moved, data, trained)
        if asked.any():
            notes.append(
                f"{counted(int(asked.sum()), 'images')} that it was tested on would be trained on: they are tested on."
            )
    for side, known, what in ((sides.learned, learned, "trained on"), (sides.tested, asked, "tested on")):
        if more := int((side & ~known).sum()):
            notes.append(f"{counted(more, 'new images')} of groups that it was {what} stay with them.")
    if found < len(trained):
        notes.append(
            f"WARNING: {len(trained) - found:,} are not there. If they were renamed, they count as new, and the test "
            "images may hold some that the weights have learned from."
        )
    return replace(dataset, train=train, validation=validation, load_test=load_test, seen=seen), notes


@dataclass(frozen=True, slots=True)
class _Sides:
    """Which images have to be on one side: bool (n,), those that are known, and all of their groups."""

    learned: np.ndarray
    tested: np.ndarray


def _sides_of_groups(pool: Split, learned: np.ndarray, tested: np.ndarray, run: str) -> _Sides:
    groups = groups_of(pool)
    numbers = number_groups(groups)
    if groups is None or numbers is None:
        return _Sides(learned, tested)
    sides = _Sides(np.isin(numbers, numbers[learned]), np.isin(numbers, numbers[tested]))
    if torn := sorted({str(groups[index]) for index in np.flatnonzero(sides.learned & sides.tested).tolist()}):
        raise DataError(
            f"{run} was trained on some images of a group and tested on others, so that the group cannot stay on one "
            f"side: {first_of(torn, _NAMED)}.",
            "Go on without the groups that are new since, or train the subnet in a run of its own: noah retrain "
            "--subnet",
        )
    return sides


def _same(split: Split) -> Split:
    return split


def _given_test(dataset: Dataset, moved: Split, data: DataSettings, trained: frozenset[str]) -> Split:
    given = dataset.load_test()
    unknown = ~np.isin(np.array(hash_images(given, data)), list(trained))
    return concatenate(select(given, np.flatnonzero(unknown)), moved)


def describe_head(earlier: Earlier, classes: tuple[str, ...]) -> str:
    """Say in words what becomes of the head's rows."""
    new = [name for name in classes if name not in earlier.classes]
    gone = [name for name in earlier.classes if name not in classes]
    told = f"{counted(len(classes) - len(new), 'rows')} kept by the names of their classes"
    if new:
        told += f"; fresh ones for {first_of(new, _NAMED)}"
    if gone:
        told += f"; gone: {first_of(gone, _NAMED)}"
    return told
