"""What every stage of a run works with: dataset, backbone, hardware, search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noah.backbone.architecture import Architecture
from noah.backbone.build import check_image_size
from noah.backbone.families.registry import sizes_of, view_of
from noah.backbone.load import Backbone, load_backbone
from noah.cost.image_cost import size_advice
from noah.data.augment.augmented_pixels import PREFETCHED, TrainingPixels, choose_workers, load_augmented
from noah.data.augment.image import Augmentation
from noah.data.dataset import Dataset, fingerprint
from noah.data.intake import AS_LOADED, Intake, OpenedTest, look, open_test, settle, unseen
from noah.data.pixels.device_pixels import free_memory, place
from noah.data.pixels.first_reading import Part, read_first
from noah.data.pixels.originals import Originals
from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.sources.registry import load_dataset
from noah.data.split import Split, decoded, same_images
from noah.errors import RunError, UsageError
from noah.files.jsonl import START_AGAIN
from noah.hardware.choice import Choice
from noah.hardware.device import Hardware, choose_hardware
from noah.hardware.memory import available_memory, format_bytes
from noah.hardware.processes import launched_processes
from noah.progress import Listener, first_of
from noah.runs.folder import DAMAGED_FILE, RUN_FILE, Run
from noah.settings.settings import Settings
from noah.settings.training_settings import AugmentationSettings
from noah.space.kinds import KINDS, price
from noah.space.search_space import MAY_BE_ABSENT, PRESETS, SearchSpace, make_space, quarters

if TYPE_CHECKING:
    from PIL.Image import Image

    from noah.backbone.load import Backbone


USUAL_BATCH = 64
"""The batch size on a CPU, where larger batches are no faster and only take memory."""
LARGEST_BATCH = 512
"""The largest batch size on a GPU; fewer images already keep it busy."""
MEMORY_SHARE = 0.25
"""The share of the device's free memory to use: other processes, and images that live there, need some too."""
_BYTES = {"fp32": 64, "bf16": 40}
"""Bytes per token and unit of its width D: tokens twice, queries, keys and values, and the hidden layer (4 D) twice."""


def choose_evaluation_batch(
    hardware: Hardware, backbone: Backbone, space: SearchSpace, free: int | None = None
) -> Choice | None:
    """Choose an evaluation batch size by the GPU's free memory; None on other devices, which use `USUAL_BATCH`.

    It is a power of two, so that a little more or less memory in use at another time changes nothing.

    Args:
        hardware: Gives device and precision.
        backbone: Gives the number of tokens and their width.
        space: Gives the largest prompt, whose tokens are added.
        free: Bytes of free memory on the device; by default the device is asked.
    """
    free = free_memory(hardware.device) if free is None else free
    if free is None:
        return None
    view = view_of(backbone.model)
    height, width = backbone.image_size
    tokens = view.image_tokens + max(space.largest.prompt)
    image = tokens * view.embed_dim * _BYTES[hardware.precision] + 3 * height * width * 5  # as bytes and as float32
    fitting = max(1, int(MEMORY_SHARE * free) // image)
    size = min(LARGEST_BATCH, 1 << (fitting.bit_length() - 1))
    reason = f"an image needs about {format_bytes(image)}, and {MEMORY_SHARE:.0%} of {format_bytes(free)} may be used"
    return Choice("batch", str(size), f"images at once in evaluation: {reason}")


@dataclass(frozen=True, slots=True)
class Materials:
    """Everything that the stages of a run share; loaded once per command and passed on."""

    settings: Settings
    dataset: Dataset
    backbone: Backbone
    hardware: Hardware
    space: SearchSpace
    evaluation_batch: Choice | None = None
    read: tuple[Pixels | Originals, ...] = ()
    """Images that were decoded at the start of the run and are in memory."""
    intake: Intake = AS_LOADED
    """How the image files are read; `dataset` reads them so."""
    as_loaded: Dataset | None = None
    """The dataset before anything was left out; known until its images are looked at."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The automatic choices of hardware and evaluation batch size."""
        return (*self.hardware.choices, *filter(None, [self.evaluation_batch]))

    @property
    def evaluation_batch_size(self) -> int:
        """How many images are evaluated at once: the setting, or else the automatic choice, or else `USUAL_BATCH`."""
        asked = self.settings.hardware.evaluation_batch_size
        if asked is not None:
            return asked
        return USUAL_BATCH if self.evaluation_batch is None else int(self.evaluation_batch.value)

    def facts(self) -> dict[str, Any]:
        """What run.yaml records about the data and the backbone."""
        return {
            "classes": list(self.dataset.classes),
            "data": {
                "train": len(self.dataset.train),
                "validation": len(self.dataset.validation),
                "fingerprint": fingerprint(self.dataset),
            },
            "notes": list(self.dataset.notes),
            "images": self.intake.to_json(),
            "backbone": {
                "name": self.backbone.name,
                "architecture": self.backbone.architecture,
                "image_size": list(self.backbone.image_size),
                "source": self.backbone.source,
                "notes": list(self.backbone.notes),
            },
            "preprocessing": self.backbone.preprocessing.to_json(),
            "space": self.space.to_json(),
        }

    def pixels(self, split: Split, title: str, listener: Listener) -> Pixels:
        """Decode a split, or arrange to decode it batch by batch, and report where its images are if it matters.

        On a GPU, images that take only a small part of its memory live there.
        """
        read = self._read(split)
        if isinstance(read, Pixels):
            pixels = read
        else:
            with listener.bar(f"decoding {title} images", len(split), "images") as bar:
                pixels = load_pixels(
                    split,
                    self.backbone.preprocessing,
                    memory_limit=self._memory_limit(),
                    progress=lambda done, _: bar.update(done),
                )
        pixels = place(pixels, self.hardware.device)
        if not pixels.in_memory or self.hardware.device.type == "cuda":
            listener.say(f"{title} images: {pixels.reason}")
        return pixels

    def training_pixels(self, split: Split, settings: AugmentationSettings, listener: Listener) -> TrainingPixels:
        """Do the same as `pixels`; if single images are augmented, report in how many processes, and why."""
        if not settings.changes_images:
            return self.pixels(split, "training", listener)
        workers, reason = choose_workers(
            self.settings.hardware.augmentation_workers, self.hardware.device.type, self.hardware.processes.local_count
        )
        where = (
            f"in {workers} {'process' if workers == 1 else 'processes'} beside this one"
            if workers
            else "in this process"
        )
        ahead = f", {PREFETCHED} batches ahead each" if workers else ""
        listener.say(f"augment   {where}{ahead} ({reason})")
        preprocessing = self.backbone.preprocessing
        with listener.bar("decoding training images", len(split), "images") as bar:
            pixels = load_augmented(
                split,
                preprocessing,
                Augmentation(settings, preprocessing),
                workers=workers,
                memory_limit=self._memory_limit(),
                progress=lambda done, _: bar.update(done),
                read=self._read(split),
            )
        if not pixels.in_memory:
            listener.say(f"training images: {pixels.reason}")
        return pixels

    def open_test(
        self, listener: Listener, split: Split | None = None, name: str = "test", *, listing: Path | None = None
    ) -> OpenedTest:
        """Open the test split, or another that takes its place, and look at all of its images.

        Args:
            listener: Receives the progress, and what is damaged.
            split: Another split to measure on; None means the dataset's own.
            name: What its images are called.
            listing: A file to list all damaged images in if there are too many; None lists none.

        Raises:
            UnreadableImageError: If more images cannot be read than may be left out.
        """
        own = self.dataset.load_test() if split is None else decoded(split, self.intake.decoding)
        with listener.bar(f"checking {name} images", len(own), "images") as bar:
            opened = open_test(own, self.intake.decoding, self.settings.data, lambda done, _: bar.update(done), listing)
        for note in opened.notes:
            listener.say(f"          {note}")
        return opened

    def reading(
        self, parts: Sequence[Part], listener: Listener, look: Callable[[int, int, Image], None] | None = None
    ) -> Materials:
        """Decode all images of a run before it begins, and return materials that keep those that fit into memory.

        Args:
            parts: The images that the first stages need.
            listener: Receives the progress.
            look: Called in threads with the number of a part, the place of an image in it, and the image.

        Raises:
            UnreadableImageError: If images cannot be decoded; it counts all of them.
        """
        total = sum(len(part.split) for part in parts)
        with listener.bar("decoding training and validation images", total, "images") as bar:
            read = read_first(
                parts,
                self.backbone.preprocessing,
                memory_limit=self._memory_limit(),
                progress=lambda done, _: bar.update(done),
                look=look,
            )
        return replace(self, read=tuple(read))

    def _read(self, split: Split) -> Pixels | Originals | None:
        """The images of a split that were decoded at the start of the run; None if there are none."""
        return next((read for read in self.read if same_images(read.split, split)), None)

    def _memory_limit(self) -> int | None:
        """Bytes that the images may take if several processes share this machine's memory; None means the default."""
        sharing = self.hardware.processes.local_count
        return None if sharing == 1 else available_memory() // 2 // sharing


def prepare(settings: Settings, listener: Listener, *, tell_data: bool = False, run: Run | None = None) -> Materials:
    """Load dataset and backbone, resolve the hardware and build the search space; no image is opened.

    Args:
        settings: The resolved settings of the run.
        listener: Receives every automatic choice made here.
        tell_data: Whether to report the dataset and the backbone too, as the first stage of a run does.
        run: The run whose images are read again, as it has read them; None for a new one.

    Raises:
        NoahError: If anything is wrong with any of them.
    """
    with launched_processes().first_goes_ahead():
        return _prepare(settings, listener, tell_data=tell_data, run=run)


def _prepare(settings: Settings, listener: Listener, *, tell_data: bool, run: Run | None) -> Materials:
    if settings.data.dataset is None and settings.data.folder is None:
        raise UsageError("No dataset is given.", "Add --dataset NAME (such as digits or cifar100) or --data FOLDER.")
    as_loaded = load_dataset(settings.data, settings.seed)
    intake = unseen(settings.data) if run is None else _stored_intake(run)
    dataset = _applied(intake, as_loaded, run)
    hardware = choose_hardware(settings.hardware, threads_before=None if run is None else _threads_of(run))
    if tell_data:
        listener.say(
            f"data      {dataset.name}: {len(dataset.classes)} classes, {len(dataset.train):,} training and "
            f"{len(dataset.validation):,} validation images"
        )
        for note in dataset.notes:
            listener.say(f"          {note}")
    for choice in hardware.choices:
        listener.say(f"{choice.what:<10}{choice.value} ({choice.reason})")
    backbone = place_backbone(settings, hardware)
    if tell_data:
        preprocessing = backbone.preprocessing
        listener.say(
            f"backbone  {backbone.source}; {preprocessing.width} x {preprocessing.height} px, {preprocessing.resize}, "
            f"{preprocessing.interpolation}{_normalization(settings, backbone)}"
        )
        for note in (*backbone.notes, *_size_advice(settings, backbone)):
            listener.say(f"          {note}")
    space = build_space(settings, backbone)
    chosen = None
    if settings.hardware.evaluation_batch_size is None:
        chosen = choose_evaluation_batch(hardware, backbone, space)
    if chosen is not None:
        listener.say(f"{chosen.what:<10}{chosen.value} ({chosen.reason})")
    return Materials(settings, dataset, backbone, hardware, space, chosen, (), intake, as_loaded)


def _threads_of(run: Run) -> int | None:
    """The threads that were chosen when a run began; None if somebody set them, or it does not say."""
    found = [choice["value"] for choice in run.description().get("choices", []) if choice["what"] == "threads"]
    return int(found[0]) if found and found[0].isdecimal() else None


def _stored_intake(run: Run) -> Intake:
    """How a run has read its images; runs that do not record it left nothing out and read them as they are stored."""
    try:
        return Intake.from_json(run.description().get("images", {}))
    except ValueError as error:
        raise RunError(f"{run.path(RUN_FILE)} is damaged: images: {error}.", START_AGAIN) from error


def _applied(intake: Intake, dataset: Dataset, run: Run | None) -> Dataset:
    try:
        return intake.apply(dataset)
    except IndexError as error:
        raise RunError(
            f"The images of {dataset.name} are not those that the run {run.name if run else ''} was started with: "
            f"{error}.",
            "Restore them, or start a new run with `noah search`.",
        ) from error


def look_at_images(materials: Materials, listener: Listener, root: Path | None = None) -> Materials:
    """Look at all training and validation images of a new run, and settle which are left out and how they are decoded.

    If there are several processes, the first looks and settles for all of them: were each to do so, a passing error of
    a file system in one of them would part their images.

    Args:
        materials: As `prepare` gives them.
        listener: Receives the progress, and what is damaged or unusual.
        root: The folder of all runs; if damaged images stop the run, all are listed in a file there.

    Raises:
        UnreadableImageError: If more images cannot be read than may be left out.
        DataError: If too few can be.
        ProcessError: If another process has stopped, as the first does on these errors.
    """
    dataset, data = materials.as_loaded or materials.dataset, materials.settings.data
    listing = None if root is None else root / f"{dataset.name}-{DAMAGED_FILE}"

    def looked() -> Intake:
        total = len(dataset.train) + len(dataset.validation)
        with listener.bar("checking training and validation images", total, "images") as bar:
            found = look(dataset, lambda done, _: bar.update(min(done, total)))
        return settle(dataset, found, data, listing)

    intake = materials.hardware.processes.of_first(looked)
    for note in intake.notes:
        listener.say(f"images    {note}")
    return replace(materials, dataset=intake.apply(dataset), intake=intake, as_loaded=None)


def at_image_size(materials: Materials, side: int) -> Materials:
    """Replace the backbone by one for square images of another size; its position embeddings are resampled.

    Args:
        materials: What the run works with.
        side: Height and width in pixels.

    Raises:
        SettingsError: If the side is not a multiple of the patch size.
    """
    if materials.backbone.image_size == (side, side):
        return materials
    check_image_size(materials.backbone.model, (side, side), "--input-size")
    settings = materials.settings.model_copy(
        update={"backbone": materials.settings.backbone.model_copy(update={"image_size": side})}
    )
    backbone = place_backbone(settings, materials.hardware)
    chosen = materials.evaluation_batch and choose_evaluation_batch(materials.hardware, backbone, materials.space)
    return replace(materials, settings=settings, backbone=backbone, evaluation_batch=chosen, read=())


def place_backbone(settings: Settings, hardware: Hardware) -> Backbone:
    """Load the backbone of the settings onto the device.

    Raises:
        NoahError: If there is none of that name, or it cannot be used.
    """
    backbone = load_backbone(
        settings.backbone.name,
        architecture=settings.backbone.architecture,
        arguments=settings.backbone.keywords,
        image_size=settings.backbone.image_size,
        resize=settings.backbone.resize,
        mean=settings.backbone.mean,
        std=settings.backbone.std,
        interpolation=settings.backbone.interpolation,
    )
    backbone.model.to(hardware.device)
    return backbone


def _size_advice(settings: Settings, backbone: Backbone) -> list[str]:
    """The advice to use smaller images, if nobody chose their size and the backbone's own is dear."""
    if settings.backbone.image_size is not None:
        return []
    advice = size_advice(Architecture.read(backbone.architecture), backbone.model)
    return [advice] if advice else []


def _normalization(settings: Settings, backbone: Backbone) -> str:
    """Mean and std for the line about the backbone, if one of them is set or both are assumed for a local file."""
    told = {"mean": settings.backbone.mean, "std": settings.backbone.std}
    values = {name: f"{name} ({', '.join(f'{x:g}' for x in getattr(backbone.preprocessing, name))})" for name in told}
    if all(value is None for value in told.values()):
        assumed = f"; {values['mean']} and {values['std']} as timm has them for {backbone.architecture}"
        return assumed if backbone.from_file else ""
    origin = f"as timm has it for {backbone.architecture}"
    return "; " + ", ".join(f"{values[name]} {origin if told[name] is None else 'as set'}" for name in told)


def build_space(settings: Settings, backbone: Backbone) -> SearchSpace:
    """Build the search space that the settings describe for a backbone.

    Raises:
        SettingsError: If depths exceed the backbone's.
    """
    sizes, blocks = sizes_of(backbone.model), view_of(backbone.model).depth
    chosen = {kind: row for kind in KINDS if (row := getattr(settings.space, kind)) is not None}
    # A preset offers what the backbone has room for: of a backbone without biases, none are offset.
    preset = {kind: row for kind, row in PRESETS[settings.space.preset].items() if price(kind, 1, sizes)}
    depths = settings.space.depths
    if depths is None and settings.space.preset in MAY_BE_ABSENT:
        depths = (0, *quarters(blocks))
    return make_space(blocks, sizes, preset | chosen, depths, settings.space.placement)


def check_same_data(run: Run, materials: Materials) -> None:
    """Refuse to continue a run whose data has changed.

    Raises:
        RunError: If images, labels or classes differ from those that the run was started with.
    """
    description, dataset = run.description(), materials.dataset
    known = description.get("data", {})
    classes = description.get("classes", list(dataset.classes))
    if known.get("fingerprint") == fingerprint(dataset) and classes == list(dataset.classes):
        return
    grown = f"go on with more images: noah retrain --from {run.option} --data FOLDER"
    raise RunError(
        f"The images of {dataset.name} are not those that the run {run.name} was started with"
        f"{_difference(known, classes, dataset)}.",
        "Restore them, start a new run with `noah search`"
        + (f", or {grown}" if run.path("retrain", "model.json").is_file() else "."),
    )


def _difference(known: Mapping[str, Any], classes: Sequence[str], dataset: Dataset) -> str:
    """Say what differs, as far as numbers and classes tell it; empty if they do not."""
    told = [
        f"{len(split):,} {what} images instead of {known[key]:,}"
        for key, split, what in (
            ("train", dataset.train, "training"),
            ("validation", dataset.validation, "validation"),
        )
        if known.get(key) not in (None, len(split))
    ]
    for word, some, others in (("new", dataset.classes, classes), ("missing", classes, dataset.classes)):
        names = [name for name in some if name not in others]
        if names:
            told.append(f"{word}: {first_of(names, 3)}")
    return f" ({'; '.join(told)})" if told else ""


def seed_torch(*words: int) -> None:
    """Seed torch's global generator from several numbers."""
    torch.manual_seed(int(np.random.default_rng(words).integers(2**63)))
