"""A suite of tiny tasks, whose cells take seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from noah.benchmark.rows import read_rows
from noah.benchmark.suites import Suite, Task
from noah.benchmark.sweep_settings import SweepSettings
from noah.settings.layers import Layer
from tests.conftest import TinySettings

SUITE = Suite(
    name="tiny",
    recipe="quick",
    methods=("noah", "linear"),
    tasks=(
        Task("digits", "real", settings={"backbone.image_size": 16}),
        Task("svhn", "real"),
        Task("rendered_dsprites_loc", "rendered"),
        Task(
            *("rendered_dsprites_loc-2shot", "few-shot"),
            settings={"data.shots": 2},
            schedule={"retrain.warmup_epochs": 1},
            part="few-shot",
            dataset="rendered_dsprites_loc",
        ),
        Task("rendered_dsprites_loc_noise", "shift", part="shift", source="rendered_dsprites_loc"),
    ),
    compares_kinds=True,
)


def tiny_sweep(tiny_settings: TinySettings, folder: Path) -> SweepSettings:
    """Settings of seconds as the recipe, and nothing over the tasks' own."""
    changes = {
        "data": {"root": str(folder / "data")},  # nothing lies there
        "supernet.batch_size": 100,
        "retrain.batch_size": 100,
        "search.generations": 0,
    }
    values = tiny_settings(changes)
    return SweepSettings(SUITE, Layer(source="recipe tiny", values=values), ())


def changed(sweep: SweepSettings, values: dict[str, Any]) -> SweepSettings:
    """The same with changes by `--set`."""
    return dataclasses.replace(sweep, changes=(*sweep.changes, Layer(source="--set", values=values)))


def planning(sweep: SweepSettings) -> SweepSettings:
    """The same with settings that the recipe `auto` plans."""
    values = {key: value for key, value in sweep.recipe.values.items() if key != "budget"}
    values["retrain"] = {key: value for key, value in values["retrain"].items() if key != "learning_rate"}
    return dataclasses.replace(sweep, recipe=Layer(source="recipe auto", values=values))


def stable(folder: Path) -> dict[str, Any]:
    """The rows without times and what else differs from one undisturbed sweep to the next."""
    return {
        row.cell.file_name: {k: v for k, v in row.to_json().items() if k not in ("seconds", "finished", "resumed")}
        for row in read_rows(folder)
    }
