"""What was asked of a run: the settings that matter, each with the place it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from noah.runs.folder import RUN_FILE, Run
from noah.settings.layers import flatten
from noah_cli.report.reading import well_formed

_ALWAYS = {
    "data.dataset": "dataset",
    "data.folder": "folder of images",
    "data.shots": "training images a class",
    "backbone.name": "backbone",
    "backbone.image_size": "side of the input, in pixels",
    "space.preset": "search space",
    "space.placement": "blocks that a module may sit in",
    "budget.parameters": "most trainable parameters",
    "budget.macs": "most multiply-accumulates",
    "budget.latency": "most time an image",
    "search.objective": "what the search makes large, and small",
    "search.sampler": "how the search proposes subnets",
    "search.population": "subnets of a generation",
    "search.generations": "generations after the first",
    "search.racing": "when a subnet is given up",
    "search.rerank": "finalists that are trained on their own",
    "supernet.epochs": "epochs of the supernet",
    "supernet.learning_rate": "learning rate of the supernet",
    "retrain.epochs": "epochs of the final training",
    "retrain.learning_rate": "learning rate of the final training",
    "seed": "seed of everything random",
}
"""Settings that are shown whatever their source, in this order -> what they are in words."""
_OF_A_SEARCH = ("space.", "budget.", "search.", "supernet.")
DEFAULT = "default"
"""The source of a setting that nobody set."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting.

    Args:
        key: Its dotted name.
        words: What it is; empty where the key has to do.
        value: Its value as text.
        source: Where the value comes from.
    """

    key: str
    words: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked.

    Args:
        main: The settings that matter: the usual ones that have a value, and all others that somebody chose.
        rest: All others.
    """

    main: tuple[Setting, ...]
    rest: tuple[Setting, ...]

    @property
    def halves(self) -> tuple[tuple[Setting, ...], tuple[Setting, ...]]:
        """The settings that matter in two parts that are about as high on the page; one with words takes two lines."""
        heights = list(accumulate(2 if setting.words else 1 for setting in self.main))
        first = sum(2 * height <= heights[-1] + 1 for height in heights)
        return self.main[:first], self.main[first:]


def gather_asked(run: Run, description: Mapping[str, Any], *, searches: bool) -> Asked:
    """Sort the settings of a run.

    Args:
        run: The run.
        description: The content of its run.yaml.
        searches: Whether it searches its subnet; one with a given subnet has no use for settings of a search.

    Raises:
        RunError: If run.yaml does not tell where settings come from.
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
    """A value as `--set` takes it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
