"""ImageNet's variants, on which a classifier of ImageNet is tested: names, classes, places.

Sources: ImageNet-A (Hendrycks et al., 2019, arXiv 1907.07174), -R (Hendrycks et al., 2020, arXiv 2006.16241), -Sketch
(Wang et al., 2019, arXiv 1905.13549), ImageNetV2 (Recht et al., 2019, arXiv 1902.10811); the names of the folders are
those of "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VARIANT_PARENTS = (Path(), Path("domain-generalization"), Path("domain_generalization"))
"""Where the folder of a variant lies below the data root."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant; `classes` of ImageNet's 1,000 are in it."""

    name: str
    classes: int
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)

    def places(self, data_root: Path) -> tuple[Path, ...]:
        """Where its folder may lie."""
        return tuple(data_root / parent / name for parent in VARIANT_PARENTS for name in self.names)


VARIANTS: tuple[Variant, ...] = (
    Variant("imagenetv2", 1000, ("imagenet-v2",)),
    Variant("imagenet-sketch", 1000),
    Variant("imagenet-a", 200, ("imagenet-adversarial",)),
    Variant("imagenet-r", 200, ("imagenet-rendition",)),
)
"""In the order of the paper's table."""

_BY_NAME = {name: variant for variant in VARIANTS for name in variant.names}


def find_variant(name: str) -> Variant | None:
    """The variant of this name or alias; capitals and underscores make no difference."""
    return _BY_NAME.get(name.lower().replace("_", "-"))


def find_variant_folder(variant: Variant, data_root: Path) -> Path | None:
    """The folder of a variant, at any of the usual places."""
    return next(filter(Path.is_dir, variant.places(data_root)), None)
