"""Every shipped recipe searches and retrains; only its sizes are made tiny."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from noah.settings.layers import flatten, recipe_layer, recipe_names
from tests.commands import noah, write_settings
from tests.conftest import TinySettings

SIZES = {
    "supernet": {"epochs": 1, "batch_size": 8, "warmup_epochs": 0},
    "search": {"generations": 1, "population": 4, "parents": 2, "mutations": 2, "crossovers": 2},
    "retrain": {"epochs": 1, "batch_size": 8, "warmup_epochs": 0},
}
"""What makes a run short. All else is the recipe's own: space, budget, rates, dropout, augmentation, resizing."""


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_runs(name: str, tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = tiny_settings()
    backbone = {key: tiny["backbone"][key] for key in ("name", "architecture", "image_size")}
    hardware = tiny["hardware"] | {"augmentation_workers": 0}
    settings = {"data": tiny["data"], "backbone": backbone, "hardware": hardware, **SIZES}
    write_settings(tmp_path, settings)
    monkeypatch.chdir(tmp_path)
    for command in (("search", "--recipe", name, "--run", name), ("retrain",)):
        outcome = noah(*command)
        assert (outcome.code, outcome.err) == (0, "")
    run = tmp_path / "runs" / "shapes" / name
    assert (run / "retrain" / "model.json").is_file()
    described = yaml.safe_load((run / "run.yaml").read_text(encoding="utf-8"))
    of_recipe = {key for key, origin in described["origins"].items() if origin == f"recipe {name}"}
    changed = {key for key, _ in flatten(settings)}
    assert of_recipe == {key for key, _ in flatten(recipe_layer(name).values)} - changed
    assert of_recipe
