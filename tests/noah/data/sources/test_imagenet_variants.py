from __future__ import annotations

from pathlib import Path

import pytest

from noah.data.sources.imagenet_variants import VARIANTS, find_variant, find_variant_folder


def test_the_table_is_that_of_the_paper() -> None:
    assert {variant.name: variant.classes for variant in VARIANTS} == {
        "imagenetv2": 1000,
        "imagenet-sketch": 1000,
        "imagenet-a": 200,
        "imagenet-r": 200,
    }


@pytest.mark.parametrize(
    ("typed", "name"),
    [("ImageNet-A", "imagenet-a"), ("imagenet_rendition", "imagenet-r"), ("imagenet-v2", "imagenetv2"), ("x", None)],
)
def test_variants_are_found_by_name_alias_and_spelling(typed: str, name: str | None) -> None:
    variant = find_variant(typed)
    assert (variant.name if variant else None) == name


@pytest.mark.parametrize("place", ["imagenet-a", "imagenet-adversarial", "domain-generalization/imagenet-adversarial"])
def test_folders_are_found_at_the_usual_places(tmp_path: Path, place: str) -> None:
    variant = find_variant("imagenet-a")
    assert variant and find_variant_folder(variant, tmp_path) is None
    (tmp_path / place).mkdir(parents=True)
    assert find_variant_folder(variant, tmp_path) == tmp_path / place
