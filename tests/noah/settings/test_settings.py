from __future__ import annotations

import math

import pytest
import yaml

from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import SettingsError, UsageError
from noah.settings.layers import (
    Layer,
    assignment_layer,
    flatten,
    nested,
    recipe_layer,
    recipe_names,
    recipe_text,
    resolve,
)
from noah.settings.settings import Settings
from tests.noah.refused_layers import problems_of


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0, 1e31, "fast", None, [1e-3]])
def test_a_learning_rate_is_a_positive_finite_number(value: object) -> None:
    (problem,) = problems_of(Layer(source="--set", values=nested("supernet.learning_rate", value)))
    assert problem.startswith("supernet.learning_rate: ")


@pytest.mark.parametrize("stage", ["supernet", "retrain"])
def test_a_warm_up_that_is_not_shorter_than_the_training_is_refused(stage: str) -> None:
    (problem,) = problems_of(
        Layer(source="noah.yaml", values=nested(f"{stage}.warmup_epochs", 8)),
        Layer(source="--set", values=nested(f"{stage}.epochs", 8)),
    )
    assert problem == f"{stage}.warmup_epochs: must be fewer than the 8 epochs, found 8 (noah.yaml)"
    resolve([Layer(source="--set", values={stage: {"epochs": 8, "warmup_epochs": 7.5}})])


@pytest.mark.parametrize("stage", ["supernet", "retrain"])
def test_the_default_warm_up_is_checked_too(stage: str) -> None:
    (problem,) = problems_of(assignment_layer(f"{stage}.epochs=3"))
    assert problem == f"{stage}.warmup_epochs: must be fewer than the 3 epochs, found 10.0 (default)"


@pytest.mark.parametrize("sampling", ["uniform", "fair", "sandwich"])
def test_the_subnets_of_a_step_are_drawn_in_one_of_three_ways(sampling: str) -> None:
    settings, _ = resolve([assignment_layer(f"supernet.sampling={sampling}")])
    assert (settings.supernet.sampling, settings.supernet.sandwich_random) == (sampling, 2)
    # Their number is allowed with each of the three, so that one settings file serves all.
    settings, _ = resolve(
        [assignment_layer(f"supernet.sampling={sampling}"), assignment_layer("supernet.sandwich_random=0")]
    )
    assert settings.supernet.sandwich_random == 0


def test_the_subnets_of_a_step_are_drawn_as_in_the_paper_unless_asked_otherwise() -> None:
    assert Settings().supernet.sampling == "uniform"
    for name in recipe_names():
        assert resolve([recipe_layer(name)])[0].supernet.sampling == "uniform"


def test_an_empty_list_of_depths_is_not_taken_for_the_default() -> None:
    (problem,) = problems_of(assignment_layer("space.depths=[]"))
    assert problem.startswith("space.depths: it needs at least one number of blocks")


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("supernet.sampling=fairly", "'uniform', 'fair' or 'sandwich', found 'fairly'"),
        ("supernet.sampling=", "found none"),
        ("supernet.sandwich_random=-1", "greater than or equal to 0, found -1"),
        ("supernet.sandwich_random=1.5", "found 1.5"),
        ("retrain.sampling=fair", "unknown setting (--set); did you mean supernet.sampling?"),
    ],
)
def test_wrong_ways_to_draw_subnets_are_told_with_their_key(assignment: str, told: str) -> None:
    (problem,) = problems_of(assignment_layer(assignment))
    assert problem.startswith(f"{assignment.partition('=')[0]}: ")
    assert told.lower() in problem.lower()


def test_every_shipped_recipe_resolves() -> None:
    assert recipe_names() == ["auto", "demo", "few_shot", "imagenet", "pocket", "quick", "vtab"]
    for name in recipe_names():
        assert recipe_text(name).startswith(f"# {name}: ")
        _, origins = resolve([recipe_layer(name)])
        written = {key for key, source in origins.items() if source == f"recipe {name}"}
        assert written == set(dict(flatten(recipe_layer(name).values)))
    with pytest.raises(UsageError, match=r"auto, demo, few_shot, imagenet, pocket, quick, vtab"):
        recipe_layer("imagenet21k")


def test_the_vtab_recipe_is_the_published_protocol() -> None:
    """Zhang, Zhou and Liu, 2022, the experiment on VTAB-1k, and the configuration published with it."""
    settings, origins = resolve([recipe_layer("vtab")])
    shared = {
        "batch_size": 64,
        "weight_decay": 1e-4,
        "warmup_epochs": 10,
        "warmup_learning_rate": 1e-6,
        "minimum_learning_rate": 1e-5,
        "dropout": 0.1,
        "drop_path": 0.1,
    }
    published = {
        "backbone": {"name": "vit_base_patch16_224.orig_in21k", "resize": "squash"},
        "budget": {"parameters": 640_000},
        "supernet": {"epochs": 500, "learning_rate": 5e-4, **shared},
        "search": {
            "generations": 15,
            "population": 50,
            "parents": 10,
            "mutations": 25,
            "crossovers": 25,
            "gene_probability": 0.2,
            "depth_probability": 0.4,
        },
        "retrain": {"epochs": 100, "learning_rate": 1e-3, **shared},
        "space": {"preset": "paper"},
    }
    found = dict(flatten(settings.model_dump()))
    assert {key: found[key] for key, _ in flatten(published)} == dict(flatten(published))
    # The recipe says so itself, so that a change of a default cannot move it.
    assert {key for key, source in origins.items() if source != "default"} == dict(flatten(published)).keys()
    assert settings.supernet.label_smoothing == settings.retrain.label_smoothing == 0


def test_mean_and_std_are_three_numbers_and_interpolation_is_one_that_the_preprocessing_has() -> None:
    for interpolation in ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"):
        settings, _ = resolve(
            [
                assignment_layer("backbone.mean=[0.5, 0, 1]"),
                assignment_layer("backbone.std=[0.25, 1, 1e-3]"),
                assignment_layer(f"backbone.interpolation={interpolation}"),
            ]
        )
        chosen = settings.backbone
        assert (chosen.mean, chosen.std, chosen.interpolation) == ((0.5, 0, 1), (0.25, 1, 1e-3), interpolation)
        assert Preprocessing(8, 8, "crop", 1.0, interpolation, (0.5, 0, 1), (0.25, 1, 1e-3))
        text = yaml.safe_dump(settings.model_dump(mode="json"))
        assert resolve([Layer(source="run", values=yaml.safe_load(text))])[0] == settings


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("backbone.mean=0.5", "must be three numbers, one for each of red, green and blue, found 0.5"),
        ("backbone.std=[0.5, 0.5]", "must be three numbers, one for each of red, green and blue, found [0.5, 0.5]"),
        ("backbone.mean=[0.5, 0.5, 0.5, 0.5]", "must be three numbers"),
        ("backbone.mean=[0.5, 0.5, much]", "found 'much'"),
        ("backbone.mean=[123.675, 0.5, 0.5]", "less than or equal to 1, found 123.675"),
        ("backbone.mean=[-0.1, 0.5, 0.5]", "found -0.1"),
        ("backbone.std=[0.5, 0, 0.5]", "greater than 0, found 0"),
        ("backbone.std=[0.5, 58.4, 0.5]", "found 58.4"),
        ("backbone.std=[0.5, .nan, 0.5]", "found nan"),
        ("backbone.interpolation=cubic", "found 'cubic'"),
    ],
)
def test_wrong_ones_are_told_with_their_key(assignment: str, told: str) -> None:
    (problem,) = problems_of(assignment_layer(assignment))
    assert problem.startswith(f"{assignment.partition('=')[0]}: ")
    assert told in problem


@pytest.mark.parametrize(
    ("assignment", "stored"),
    [
        ("budget.macs=1.1x", "1.1x"),
        ("budget.macs=4.5G", "4.5G"),
        ("budget.macs=4500000000", 4_500_000_000),
        ("budget.macs=4.5e9", 4_500_000_000),
        ("budget.latency=12ms", "12ms"),
        ("budget.latency=0.9x", "0.9x"),
        ("budget.latency=null", None),
    ],
)
def test_bounds_are_kept_as_they_were_written(assignment: str, stored: object) -> None:
    settings, _ = resolve([assignment_layer(assignment)])
    assert getattr(settings.budget, assignment.partition("=")[0].removeprefix("budget.")) == stored
    text = yaml.safe_dump(settings.model_dump(mode="json"))
    assert resolve([Layer(source="run", values=yaml.safe_load(text))])[0] == settings


def test_every_mistake_in_a_budget_is_told_at_once() -> None:
    values = {"parameters": 0, "macs": "1.1", "latency": 12, "latency_batch_size": 0}
    problems = problems_of(Layer(source="noah.yaml", values={"budget": {**values, "macs": "fast"}}))
    assert [problem.partition(":")[0] for problem in problems] == [f"budget.{key}" for key in values]
    assert "such as 4.5G, or a multiple of the backbone's: 1.1x, found 'fast'" in problems[1]
    assert "such as 12ms, 800us or 0.1s" in problems[2]
    assert all(problem.endswith("(noah.yaml)") for problem in problems)


@pytest.mark.parametrize("value", [True, 0, -1, 0.5, "0x", "nan", [1], "12ms"])
def test_wrong_bounds_of_work_are_told_once(value: object) -> None:
    (problem,) = problems_of(Layer(source="--set", values=nested("budget.macs", value)))
    assert problem.startswith("budget.macs: must be a number of multiply-accumulates")


def test_a_run_of_a_version_that_bounded_parameters_alone_is_read() -> None:
    values = Settings().model_dump(mode="json")
    values["budget"] = {"parameters": 5_000}
    del values["space"]["placement"], values["search"]["module_crossover"]
    settings, _ = resolve([Layer(source="run.yaml", values=values)])
    assert settings.budget == Settings().budget.model_copy(update={"parameters": 5_000})
    assert (settings.space.placement, settings.search.module_crossover) == ("first", 0.5)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("tensorboard", ("tensorboard",)),
        ("[wandb, tensorboard]", ("wandb", "tensorboard")),
        ("[wandb, wandb]", ("wandb",)),
        ("[]", ()),
    ],
)
def test_trackers_are_named_alone_or_in_a_list(text: str, names: tuple[str, ...]) -> None:
    assert resolve([assignment_layer(f"trackers={text}")])[0].trackers == names


@pytest.mark.parametrize("text", ["tensorbord", "[1]", "3", "null", "{wandb: 1}"])
def test_an_unknown_tracker_is_refused(text: str) -> None:
    assert problems_of(assignment_layer(f"trackers={text}"))[0].startswith("trackers")


def test_strengths_are_read() -> None:
    settings, _ = resolve([assignment_layer("space.strength=adapter:0.5 + lora_all:1.5")])
    assert settings.space.strengths == {
        "adapter": 0.5,
        **dict.fromkeys(("lora", "lora_proj", "lora_fc1", "lora_fc2"), 1.5),
    }
    assert resolve([])[0].space.strengths == {}


@pytest.mark.parametrize(
    "text", ["lora", "lora:x", "lora:0", "lora:-1", "lora:nan", "lora:101", "loar:2", "lora:1+lora:2", "+"]
)
def test_wrong_strengths_are_told_with_their_key(text: str) -> None:
    with pytest.raises(SettingsError, match=r"space\.strength: must be kinds of module, each once"):
        resolve([assignment_layer(f"space.strength={text}")])
