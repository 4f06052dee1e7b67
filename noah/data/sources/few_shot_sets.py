"""The few-shot datasets of the paper: names, numbers of classes, and where their images are.

Source: "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673), which takes them from "Learning to Prompt for
Vision-Language Models" (Zhou et al., 2021, arXiv 2109.01134).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHOTS = (1, 2, 4, 8, 16)
LIST_SEEDS = (0, 1, 2)

FEW_SHOT_PARENTS = (Path(), Path("few-shot"), Path("few_shot"))
"""Where a dataset's folder may be, below the data root."""


@dataclass(frozen=True, slots=True)
class FewShotSet:
    """One few-shot dataset.

    Attributes:
        name: The name that noah uses.
        classes: The number of classes.
        aliases: Other names in the literature or its code.
        train: The folders, below the dataset's own, that the paths in training and validation lists are relative to.
        test: The same for the test list.
    """

    name: str
    classes: int
    aliases: tuple[str, ...] = ()
    train: tuple[str, ...] = ("images",)
    test: tuple[str, ...] = ("images",)

    @property
    def names(self) -> tuple[str, ...]:
        """The name, followed by the aliases."""
        return (self.name, *self.aliases)

    def places(self, data_root: Path) -> tuple[Path, ...]:
        """Where its folder may be; the published folders are spelled with hyphens as well as underscores."""
        spellings = dict.fromkeys(spelled for name in self.names for spelled in (name, name.replace("_", "-")))
        return tuple(data_root / parent / spelled for parent in FEW_SHOT_PARENTS for spelled in spellings)


IMAGENET = FewShotSet("imagenet", 1000, ("imagenet_1k", "imagenet1k"), ("train", "val"), ("val",))

FEW_SHOT_SETS: tuple[FewShotSet, ...] = (
    FewShotSet("fgvc_aircraft", 100, ("aircraft",)),
    FewShotSet("food101", 101, ("food_101",)),
    FewShotSet("oxford_flowers102", 102, ("oxford_flowers", "flowers102")),
    FewShotSet("oxford_pets", 37, ("oxford_pet", "oxford_iiit_pet", "pets", "pet")),
    FewShotSet("stanford_cars", 196, ("cars",), (".",), (".",)),
    IMAGENET,
)
"""The five datasets in the paper's order, then ImageNet."""

_BY_NAME = {name: known for known in FEW_SHOT_SETS for name in known.names}


def find_few_shot_set(name: str) -> FewShotSet | None:
    """Find a few-shot dataset by name or alias; capitals and hyphens make no difference."""
    return _BY_NAME.get(name.lower().replace("-", "_"))


def find_few_shot_folder(known: FewShotSet, data_root: Path) -> Path | None:
    """Find a few-shot dataset's folder, with its lists, in any of the usual places."""
    return next((place for place in known.places(data_root) if (place / "annotations").is_dir()), None)
