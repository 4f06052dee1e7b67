"""Miniature few-shot sets, ImageNet and its variants, in the layouts in which they are published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

SYNSETS = ("n01440764", "n01443537", "n01484850", "n01491361")
"""The first classes of ImageNet."""


def write_images(folder: Path, names: Sequence[str], label: int) -> None:
    """Small images of one class: a square in the class's color on noise."""
    rng = np.random.default_rng([label, *names[0].encode()])
    for name in names:
        pixels = rng.normal(110, 25, (32, 32, 3))
        pixels[8:24, 8:24, label % 3] += 100 if label < 3 else -100
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name, format="PNG")


def write_list(path: Path, entries: Sequence[tuple[str, int]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image} {label}\n" for image, label in entries))


def write_few_shot(
    root: Path, *, classes: int = 3, shots: Sequence[int] = (1, 4), images: str = "images", seeds: Sequence[int] = (0,)
) -> Path:
    """A set whose image names contain blanks: K images a class to train on, two to validate on, two to test on."""
    lists: dict[str, list[tuple[str, int]]] = {}
    for label in range(classes):
        for split, count in (("train", max(shots)), ("val", 2), ("test", 2)):
            names = [f"class {label}/{split} {number}.jpg" for number in range(count)]
            write_images(root / images, names, label)
            if split == "train":
                for seed in seeds:
                    for k in shots:
                        entries = lists.setdefault(f"train_meta.list.num_shot_{k}.seed_{seed}", [])
                        entries += [(name, label) for name in names[seed:][:k]]
            else:
                lists.setdefault(f"{split}_meta.list", []).extend((name, label) for name in names)
    for name, entries in lists.items():
        write_list(root / "annotations" / name, entries)
    return root


def write_imagenet(root: Path, *, shots: int = 4, seed: int = 0, validation: int | None = None) -> Path:
    """ImageNet with the first of its classes; `validation` images of each training list are in the list for the search.

    val_meta.list is the official validation split, whose images lie in val/.
    """
    train: list[tuple[str, int]] = []
    held_out: list[tuple[str, int]] = []
    official: list[tuple[str, int]] = []
    for label, synset in enumerate(SYNSETS):
        names = [f"{synset}/{synset}_{number}.JPEG" for number in range(shots)]
        write_images(root / "train", names, label)
        train += [(name, label) for name in names]
        held_out += [(name, label) for name in names[: validation or 0]]
        names = [f"{synset}/ILSVRC2012_val_{label}{number}.JPEG" for number in range(2)]
        write_images(root / "val", names, label)
        official += [(name, label) for name in names]
    write_list(root / "annotations" / f"train_meta.list.num_shot_{shots}.seed_{seed}", train)
    write_list(root / "annotations" / "val_meta.list", official)
    if validation is not None:
        write_list(root / "annotations" / "unofficial_val_list_4_shot16seed0", held_out)
    return root


def write_variant(root: Path, inner: str, labels: Sequence[int], *, listed: bool = True) -> Path:
    """A variant of ImageNet with two images of each class, below a folder of its own as in the authors' archives."""
    entries = []
    for label in labels:
        names = [f"{inner}/{SYNSETS[label]}/0.0{number}_bow tie _ bow tie_0.9.jpg" for number in range(2)]
        write_images(root, names, label)
        entries += [(name, label) for name in names]
    if listed:
        write_list(root / "annotations" / "val_meta.list", entries)
    return root
