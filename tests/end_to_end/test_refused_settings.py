"""Settings that are refused, every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.end_to_end.refusals import Case, add_file, refuse

RECIPES = "`noah recipes NAME` prints every setting with its value."

SETTINGS = {
    "budget that admits nothing": Case(
        "noah search --budget params=10",
        2,
        [
            "The budget of 10 parameters admits no subnet of the space: the cheapest has 1,026.",
            "Raise it to at least --budget params=1026, or choose a space with smaller widths or depths.",
        ],
    ),
    "malformed budget": Case(
        "noah search --budget 0.64M",
        2,
        [
            "--budget 0.64M is not a budget.",
            "Write it as --budget params=0.64M, macs=1.1x, macs=4.5G, latency=12ms or latency=1.1x, or --budget none.",
        ],
    ),
    "--set without a value": Case(
        "noah search --set supernet.epochs",
        2,
        ["--set supernet.epochs: expected KEY=VALUE", "For example: --set supernet.epochs=20"],
    ),
    "--set that is no YAML": Case("noah search --set seed=[", 2, ["--set seed=[: the value is not YAML"]),
    "--set of a section": Case(
        "noah search --set data=3", 2, ["data: this is a section, not a value (--set)", RECIPES]
    ),
    "unknown preset": Case(
        "noah search --space papr",
        2,
        [
            "space.preset: input should be 'paper', 'wide', 'prompt', 'lora', 'adapter', 'mixed', 'mergeable' or "
            "'full', found 'papr' (--space)",
            RECIPES,
        ],
    ),
    "unknown recipe": Case(
        "noah search --recipe dmeo", 2, ["No recipe is named 'dmeo'.", "The recipes are: auto, ..."]
    ),
    "missing settings file": Case(
        "noah search --config nowhere.yaml",
        2,
        ["The settings file nowhere.yaml does not exist.", "Check the path after --config."],
    ),
    "settings file that is no YAML": Case(
        "noah search --config bad.yaml",
        2,
        ["bad.yaml: not YAML at line 2", "Check the indentation and the colons."],
        add_file("bad.yaml", "seed: 3\n bad: ["),
    ),
    "settings file of another kind": Case(
        "noah search --config bad.yaml",
        2,
        ["bad.yaml: expected a mapping of settings, found list"],
        add_file("bad.yaml", "- seed"),
    ),
    "several mistakes in a settings file": Case(
        "noah search --config bad.yaml --set search.population=0",
        2,
        [
            "sead: unknown setting (bad.yaml); did you mean seed?",
            "backbone: this is a section, not a value (bad.yaml)",
            "supernet.epochs: input should be a valid integer, unable to parse string as an integer, found 'many' "
            "(bad.yaml)",
            "search.population: input should be greater than or equal to 1, found 0 (--set)",
            RECIPES,
        ],
        add_file("bad.yaml", "sead: 3\nsupernet: {epochs: many}\nbackbone: x\n"),
    ),
    "several mistakes in noah.yaml": Case(
        "noah search --data photos",
        2,
        [
            "data: this is a section, not a value (noah.yaml)",
            "retrain.epoch: unknown setting (noah.yaml); did you mean retrain.epochs?",
            "seed: input should be greater than or equal to 0, found -1 (noah.yaml)",
            RECIPES,
        ],
        add_file("noah.yaml", "data: 3\nretrain: {epoch: 3}\nseed: -1\n"),
    ),
}


@pytest.mark.parametrize("case", SETTINGS.values(), ids=SETTINGS)
def test_settings(good_folder: Path, case: Case) -> None:
    refuse(case, good_folder)
