"""ImageNet's variants, for testing classifiers that were trained on ImageNet: names, numbers of classes, places.

Sources: ImageNet-A (Hendrycks et al., 2019, arXiv 1907.07174), -R (Hendrycks et al., 2020, arXiv 2006.16241), -Sketch
(Wang et al., 2019, arXiv 1905.13549), ImageNetV2 (Recht et al., 2019, arXiv 1902.10811); the folder names are those of
"Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

VARIANT_PARENTS = (Path(), Path("domain-generalization"), Path("domain_generalization"))
"""Where a variant's folder may be, below the data root."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One variant, which has images of `classes` of ImageNet's 1,000 classes."""

    name: str
    classes: int
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name, followed by the aliases."""
        return (self.name, *self.aliases)

    def places(self, data_root: Path) -> tuple[Path, ...]:
        """All paths at which its folder may be."""
        return tuple(data_root / parent / name for parent in VARIANT_PARENTS for name in self.names)


VARIANTS: tuple[Variant, ...] = (
    Variant("imagenetv2", 1000, ("imagenet-v2",)),
    Variant("imagenet-sketch", 1000),
    Variant("imagenet-a", 200, ("imagenet-adversarial",)),
    Variant("imagenet-r", 200, ("imagenet-rendition",)),
)
"""The variants in the order of the paper's table."""

_BY_NAME = {name: variant for variant in VARIANTS for name in variant.names}


def find_variant(name: str) -> Variant | None:
    """Find a variant by name or alias; capitals and underscores make no difference."""
    return _BY_NAME.get(name.lower().replace("_", "-"))


def find_variant_folder(variant: Variant, data_root: Path) -> Path | None:
    """Find a variant's folder in any of the usual places."""
    return next(filter(Path.is_dir, variant.places(data_root)), None)
