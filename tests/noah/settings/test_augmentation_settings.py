from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from timm.data.auto_augment import rand_augment_transform

from noah.data.augment.image import timm_spelling
from noah.settings.layers import Layer, assignment_layer, nested, resolve
from noah.settings.training_settings import AugmentationSettings
from tests.noah.refused_layers import problems_of

EACH = {
    "random_resized_crop": [0.08, 1],
    "horizontal_flip": 0.5,
    "randaugment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.4,
    "random_erasing": 0.25,
    "mixup": 0.8,
    "cutmix": 1.0,
}
OF_ONE_IMAGE = {"random_resized_crop", "horizontal_flip", "randaugment", "color_jitter"}


@pytest.mark.parametrize("stage", ["supernet", "retrain"])
def test_all_is_off_by_default_and_each_is_set_by_its_key(stage: str) -> None:
    off: Any = {name: None if name in ("random_resized_crop", "randaugment") else 0.0 for name in EACH}
    assert getattr(resolve([])[0], stage).augmentation.model_dump() == off
    assert not AugmentationSettings().changes_images
    for name, value in EACH.items():
        settings, origins = resolve([assignment_layer(f"{stage}.augmentation.{name}={yaml.safe_dump(value).strip()}")])
        chosen = getattr(settings, stage).augmentation
        assert chosen.model_dump(mode="json") == off | {name: value}
        assert chosen.changes_images == (name in OF_ONE_IMAGE)
        assert [key for key, source in origins.items() if source == "--set"] == [f"{stage}.augmentation.{name}"]
        text = yaml.safe_dump(settings.model_dump(mode="json"))
        assert resolve([Layer(source="run", values=yaml.safe_load(text))])[0] == settings


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("random_resized_crop", 0.5, "must be two shares of the area, such as [0.08, 1]"),
        ("random_resized_crop", [0.5], "must be two shares of the area, such as [0.08, 1]"),
        ("random_resized_crop", [0.5, 0.2], "the smaller share of the area must come first"),
        ("random_resized_crop", [0, 1], "greater than 0"),
        ("random_resized_crop", [0.5, 1.5], "less than or equal to 1"),
        ("horizontal_flip", 1.5, "less than or equal to 1"),
        ("color_jitter", -0.1, "greater than or equal to 0"),
        ("color_jitter", 40, "less than or equal to 1"),
        ("random_erasing", 25, "less than or equal to 1"),
        ("mixup", -1, "greater than or equal to 0"),
        ("cutmix", float("nan"), "finite"),
        ("randaugment", 9, "valid string"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_key(name: str, value: object, told: str) -> None:
    (problem,) = problems_of(Layer(source="--set", values=nested(f"supernet.augmentation.{name}", value)))
    assert problem.startswith(f"supernet.augmentation.{name}: ")
    assert told in problem


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("supernet.augmentation.mixupp", "did you mean supernet.augmentation.mixup?"),
        ("supernet.augmentaton.cutmix", "did you mean supernet.augmentation.cutmix?"),
        ("retrain.mixup", "did you mean retrain.augmentation.mixup?"),
        ("supernet.augmentation", "this is a section, not a value"),
    ],
)
def test_a_wrong_key_names_the_nearest_one(key: str, told: str) -> None:
    (problem,) = problems_of(Layer(source="--set", values=nested(key, 0.8)))
    assert told in problem


@pytest.mark.parametrize(
    "spelled",
    [
        "",
        "rand-",
        "randm9",
        "Rand-m9",
        "rand-m11",
        "rand-m-1",
        "rand-m9.5",
        "rand-x3",
        "rand-m9-m5",
        "rand-mstd.5",
        "rand-mstd",
        "rand-mstdinf",
        "rand-inc2",
        "rand-p1.5",
        "rand-n0",
        "rand-tweights",
        "rand-m9-mstd0.5-inc1 ",
        "rand-m9\n",
        "rand-m٣",
        "original-mstd0.5",
        "m9-mstd0.5-inc1",
    ],
)
def test_what_is_no_randaugment_is_refused(spelled: str) -> None:
    (problem,) = problems_of(Layer(source="--set", values=nested("supernet.augmentation.randaugment", spelled)))
    assert problem.startswith("supernet.augmentation.randaugment: must be rand, then any of -m0 to -m10, -n1 to -n9,")
    assert "as in rand-m9-mstd0.5-inc1, found" in problem


PARTS = {
    "m": st.integers(0, 10),
    "n": st.integers(1, 9),
    "p": st.sampled_from(["0", "0.25", "0.5", "1", "1.0"]),
    "mstd": st.sampled_from(["0", "0.5", "2", "10.25"]),
    "inc": st.integers(0, 1),
}


@given(st.fixed_dictionaries({}, optional=PARTS), st.randoms(use_true_random=False))
def test_timm_reads_what_is_taken_and_means_the_same(parts: dict[str, Any], shuffled: Any) -> None:
    names = list(parts)
    shuffled.shuffle(names)
    spelled = "-".join(["rand", *(f"{name}{parts[name]}" for name in names)])
    assert AugmentationSettings(randaugment=spelled).randaugment == spelled
    found = rand_augment_transform(timm_spelling(spelled), {"img_mean": (0, 0, 0)})
    assert found.num_layers == parts.get("n", 2)
    assert {operation.magnitude for operation in found.ops} == {parts.get("m", 10)}
    assert {operation.prob for operation in found.ops} == {float(parts.get("p", 0.5))}
    assert {operation.magnitude_std for operation in found.ops} == {float(parts.get("mstd", 0))}
    assert any("Increasing" in operation.name for operation in found.ops) == bool(parts.get("inc", 0))
