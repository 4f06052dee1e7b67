from __future__ import annotations

import re

import pytest
import yaml

from noah.runs.published_subnets import published_names, published_subnet
from noah.settings.layers import flatten, recipe_layer, recipe_names, recipe_text, resolve
from noah.space.search_space import PRESETS, make_space

AUGMENTED = {
    "label_smoothing": 0.1,
    "augmentation": {
        "random_resized_crop": (0.08, 1.0),
        "horizontal_flip": 0.5,
        "randaugment": "rand-m9-mstd0.5-inc1",
        "color_jitter": 0.4,
        "random_erasing": 0.25,
        "mixup": 0.8,
        "cutmix": 1.0,
    },
}
SHARED = {
    "batch_size": 64,
    "weight_decay": 1e-4,
    "warmup_epochs": 10,
    "warmup_learning_rate": 1e-6,
    "minimum_learning_rate": 1e-5,
    "dropout": 0.1,
    "drop_path": 0.1,
    **AUGMENTED,
}
PUBLISHED = {
    "backbone": {"name": "vit_base_patch16_224.orig_in21k", "resize": "crop"},
    "space": {"preset": "wide"},
    "budget": {"parameters": 640_000},
    "supernet": {"epochs": 300, "learning_rate": 5e-4, **SHARED},
    "search": {
        "generations": 15,
        "population": 50,
        "parents": 10,
        "mutations": 25,
        "crossovers": 25,
        "gene_probability": 0.2,
        "depth_probability": 0.4,
    },
    "retrain": {"epochs": 100, "learning_rate": 5e-3, **SHARED},
}
"""Zhang, Zhou and Liu, 2022, for few-shot learning; crop, flip and the way to resize are those usual with timm."""


@pytest.mark.parametrize("name", ["few_shot", "imagenet"])
def test_the_few_shot_recipes_are_the_published_protocol(name: str) -> None:
    settings, origins = resolve([recipe_layer(name)])
    found = dict(flatten(settings.model_dump()))
    assert {key: found[key] for key, _ in flatten(PUBLISHED)} == dict(flatten(PUBLISHED))
    # The recipe says so itself, so that a change of a default cannot move it.
    assert {key for key, source in origins.items() if source != "default"} == dict(flatten(PUBLISHED)).keys()
    assert found["data.shots"] is None


def test_the_recipes_few_shot_and_imagenet_have_the_same_settings() -> None:
    """The paper trains and searches both in the same way; they are two recipes because they are two experiments.

    The comments of each tell its own commands and images, and each can be named, and later mended, for itself.
    """
    assert resolve([recipe_layer("few_shot")])[0] == resolve([recipe_layer("imagenet")])[0]


def test_the_few_shot_space_holds_the_published_few_shot_subnets() -> None:
    space = make_space(12, 768, PRESETS["wide"])
    assert PUBLISHED["space"] == {"preset": "wide"}
    few_shot = [published_subnet(name) for name in published_names() if ":" in name]
    assert len(few_shot) == 26
    assert all(space.contains(subnet) for subnet in few_shot)


@pytest.mark.parametrize("name", recipe_names())
def test_every_value_says_what_it_is_or_why(name: str) -> None:
    section = re.compile(r" *[a-z_]+:( +#.*)?")
    value = re.compile(r" *[a-z_]+: \S.*?  +# (?P<comment>.+)|.* # (?P<close>.+)")
    values = 0
    for line in recipe_text(name).splitlines():
        if not line.strip() or line.lstrip().startswith("#") or section.fullmatch(line):
            continue
        values += 1
        match = value.fullmatch(line)
        assert match, f"no comment: {line}"
        assert len((match["comment"] or match["close"]).split()) >= 2, f"says nothing: {line}"
    assert values == len(dict(flatten(yaml.safe_load(recipe_text(name)))))


def test_only_the_recipes_of_few_shot_sets_augment() -> None:
    augmenting = {
        name for name in recipe_names() if resolve([recipe_layer(name)])[0].supernet.augmentation.changes_images
    }
    assert augmenting == {"few_shot", "imagenet"}
