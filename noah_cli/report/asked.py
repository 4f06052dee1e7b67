"""The settings of a run: those that matter, each with its source, and the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from noah.runs.folder import RUN_FILE, Run
from noah.settings.layers import DEFAULT, flatten
from noah_cli.report.reading import well_formed

_ALWAYS = {
    "data.dataset": "dataset",
    "data.folder": "images",
    "data.shots": "training images per class",
    "backbone.name": "backbone",
    "backbone.image_size": "side of the input, in pixels",
    "space.preset": "search space",
    "space.placement": "blocks that a module may be in",
    "budget.parameters": "most trainable parameters",
    "budget.macs": "most multiply-accumulates",
    "budget.latency": "most time per image",
    "search.objective": "what the search optimizes",
    "search.sampler": "how the search proposes subnets",
    "search.population": "subnets per generation",
    "search.generations": "generations after the first",
    "search.racing": "when a subnet is given up",
    "search.rerank": "finalists that are trained on their own",
    "supernet.epochs": "epochs of the supernet",
    "supernet.learning_rate": "learning rate of the supernet",
    "retrain.epochs": "epochs of the final training",
    "retrain.learning_rate": "learning rate of the final training",
    "seed": "seed of all randomness",
}
"""Settings that are always shown, in this order, with their meaning."""
_OF_A_SEARCH = ("space.", "budget.", "search.", "supernet.")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Args:
        key: Its dotted name.
        words: Its meaning; empty if the key has to do.
        value: Its value as text.
        source: Where the value comes from, such as an option or a recipe.
    """

    key: str
    words: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Asked:
    """The settings of a run in two groups.

    Args:
        main: The settings that matter: the usual ones that have a value, and all others that were set by somebody.
        rest: All others, which have their default values.
    """

    main: tuple[Setting, ...]
    rest: tuple[Setting, ...]

    @property
    def halves(self) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
        """The settings that matter in two parts of about the same height on the page; a meaning takes a second line."""
        heights = list(accumulate(2 if setting.words else 1 for setting in self.main))
        first = sum(2 * height <= heights[-1] + 1 for height in heights)
        return self.main[:first], self.main[first:]


def gather_asked(run: Run, description: Mapping[str, Any], *, searches: bool) -> Asked:
    """Sort the settings of a run into those that matter and the rest.

    Args:
        run: The run to read.
        description: The content of its run.yaml.
        searches: Whether the run searches its subnet; otherwise, settings of the search do not matter.

    Raises:
        RunError: If run.yaml does not say where settings come from.
    """
    with well_formed(run.path(RUN_FILE), "no sources of its settings"):
        origins = {str(key): str(source) for key, source in description.get("origins", {}).items()}
    values = {
        key: value for key, value in flatten(description["settings"]) if searches or not key.startswith(_OF_A_SEARCH)
    }
    settings = {
        key: Setting(key, _ALWAYS.get(key, ""), spell_value(value), origins.get(key, DEFAULT))
        for key, value in values.items()
    }
    chosen = [key for key, setting in settings.items() if setting.source != DEFAULT and values[key] is not None]
    usual = [key for key in _ALWAYS if key in settings and values[key] is not None]
    main = dict.fromkeys([*usual, *chosen])
    return Asked(
        tuple(settings[key] for key in main), tuple(setting for key, setting in settings.items() if key not in main)
    )


def spell_value(value: Any) -> str:
    """Write a value as `--set` takes it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
