"""Gives the commands that repeat a run, from the source that run.yaml records for every setting."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.errors import SettingsError
from noah.files.latest import DEFAULT_RUNS, LATEST
from noah.runs.folder import Run
from noah.settings.layers import DEFAULT, LIMITED, PLANNED, PROJECT_FILE, assignment_layer, flatten
from noah_cli.report.artifacts import Exported
from noah_cli.report.asked import spell_value
from noah_cli.report.export_options import export_options
from noah_cli.report.reading import Missing

SETTINGS_FILE = "settings.yaml"
"""The file in the report folder with all settings of the run."""
_BOTH = (
    *("--alpha", "--backbone", "--backbone-arch", "--bit-depth", "--class-weights", "--classes", "--damaged", "--data"),
    *("--data-root", "--dataset", "--device", "--groups", "--image-size", "--list-seed", "--precision", "--seed"),
    *("--shots", "--threads"),
)
_SEARCH = ("--objective", "--placement", "--racing", "--rerank", "--sampler", "--space", "--storage")
SINGLE_OPTIONS: Mapping[str, tuple[str, ...]] = {"search": (*_BOTH, *_SEARCH), "retrain": _BOTH}
"""The options of each command that take the value of a setting as it is.

Other sources look alike: any keyword of Python's, and --seeds and --workers of `noah benchmark`, where the latter sets
the threads of each worker.
"""
_OF_A_SWEEP = ("this cluster", "this sweep")
"""Sources of the settings of the machines that a sweep runs on; its suite is another source."""
_BUDGETS = {"budget.parameters": "params", "budget.macs": "macs", "budget.latency": "latency"}


@dataclass(frozen=True, slots=True)
class Repeat:
    """How to repeat a run.

    Args:
        commands: What to type, from the first stage to the last that was reached.
        notes: What else is needed for the same result, such as a settings file.
        exact: The first command again, with the machine's choices spelled out.
        is_from_file: Whether every setting of `exact` comes from one file, rather than some from another run.
    """

    commands: tuple[str, ...]
    notes: tuple[str, ...]
    exact: str
    is_from_file: bool


def gather_repeat(
    run: Run,
    description: Mapping[str, Any],
    exported: Exported | Missing,
    settings_path: str,
    runs: Path = DEFAULT_RUNS,
) -> Repeat:
    """Write out the commands of a run.

    Args:
        run: The run to repeat.
        description: The content of its run.yaml.
        exported: Its artifacts.
        settings_path: Path of the file with all settings.
        runs: The folder of all runs, which also gets the new one.
    """
    among = "" if runs == DEFAULT_RUNS else f" --runs {shlex.quote(str(runs))}"
    origins = {str(key): str(source) for key, source in description.get("origins", {}).items()}
    values = dict(flatten(description["settings"]))
    given = description.get("given")
    start = f"noah retrain --subnet {shlex.quote(str(given['spelling']))}" if given else "noah search"
    earlier = given.get("earlier") if given else None
    if earlier:  # its settings are those of the earlier run
        start = f"noah retrain --from {shlex.quote(str(earlier))}"
        known = (f"run {earlier}", f"from {earlier}")
        origins = {key: source for key, source in origins.items() if source not in known}
    words, notes = _words("retrain" if given else "search", origins, values)
    if earlier:
        notes.append(f"The run {earlier} must still exist, as it was then.")
    of_front = bool(given and given.get("searched"))
    like_a_run = any(word.startswith("--run ") for word in words)
    if given and of_front:
        must = "must still exist" if like_a_run else "must be the latest"
        notes.append(f"The subnet is from the Pareto front of the run {given['searched']}, which {must}.")
    is_from_file = not (earlier or (of_front and like_a_run))  # --run cannot stand beside a file that names a dataset
    commands = [" ".join([start, *words])]
    if not given and run.path("retrain", "model.json").is_file():
        commands.append(f"noah retrain{' --inherit' if _inherited(run, values) else ''}")
    if run.path("eval", "test.json").is_file():
        commands.append("noah eval")
    if isinstance(exported, Exported):
        for artifact in exported.artifacts:
            options, unknown = export_options(artifact.manifest)
            commands.append(" ".join(["noah export", *options]))
            if unknown:
                notes.append(f"The manifest of {artifact.name} does not tell whether {' or '.join(unknown)} was given.")
            if artifact.test is not None:
                commands.append(f"noah eval {shlex.quote(str(runs / LATEST / 'export' / artifact.tested_path))}")
    chosen = {choice["what"]: choice["value"] for choice in description.get("choices", [])}
    machine = [f"--{name} {chosen[name]}" for name in ("device", "precision", "threads") if name in chosen]
    exact = [start, "--config", shlex.quote(settings_path)] if is_from_file else [commands[0]]
    return Repeat(
        tuple(f"{command}{among}" for command in commands),
        tuple(notes),
        f"{' '.join([*exact, *_machine(machine)])}{among}",
        is_from_file,
    )


def _machine(options: Sequence[str]) -> list[str]:
    return [option for option in options if shlex.join(shlex.split(option)) == option]


def _words(command: str, origins: Mapping[str, str], values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Give the options of the first command, and what else it needs.

    A setting is spelled by the option that made it, if the command has that option, and otherwise by --set.
    """
    words: list[str] = []
    notes: list[str] = []
    for source in dict.fromkeys(origins.values()):
        keys = [key for key, origin in origins.items() if origin == source]
        kind, _, name = source.partition(" ")
        if source == DEFAULT or source.startswith(PLANNED):
            continue
        if source == "--budget" and command == "search":
            words += _budget(keys, values)
        elif source == "--track":
            words += [f"--track {tracker}" for tracker in values["trackers"] or ["none"]]
        elif source in SINGLE_OPTIONS[command]:
            words += [f"{source} {shlex.quote(spell_value(values[key]))}" for key in keys]
        elif source.startswith(("--", LIMITED)) or source in _OF_A_SWEEP or (kind == "suite" and name):
            words += [f"--set {shlex.quote(f'{key}={_as_yaml(values[key])}')}" for key in keys]
        elif kind in ("recipe", "run") and name:
            words.append(f"--{kind} {shlex.quote(name)}")
        elif source == str(PROJECT_FILE):
            notes.append(f"{PROJECT_FILE} in the working folder was read, and must be there unchanged.")
        else:
            words.append(f"--config {shlex.quote(source)}")
            notes.append(f"{source} must be there unchanged.")
    return sorted(words, key=_place), notes


def _as_yaml(value: Any) -> str:
    """Write a value as `--set` reads it, in quotation marks where a plain text would be read as something else."""
    plain = spell_value(value)
    try:
        read = assignment_layer(f"value={plain}").values["value"]
    except SettingsError:
        read = None
    return plain if read == value else json.dumps(value, ensure_ascii=False)


def _place(word: str) -> int:
    """The position of an option: data and recipe first, single settings last."""
    first = ("--run", "--dataset", "--data", "--recipe", "--config", "--backbone")
    name = word.split()[0]
    if name in first:
        return first.index(name)
    return len(first) + 1 if name == "--set" else len(first)


def _budget(keys: Sequence[str], values: Mapping[str, Any]) -> list[str]:
    bounds = [
        f"--budget {_BUDGETS[key]}={shlex.quote(str(values[key]))}" for key in keys if values.get(key) is not None
    ]
    return ["--budget none", *bounds] if len(bounds) < len(keys) else bounds


def _inherited(run: Run, values: Mapping[str, Any]) -> bool:
    """Whether `noah retrain` was given --inherit, rather than a setting of the run."""
    settings = run.read_json("retrain", "model.json").get("settings", {})
    return bool(settings.get("inherit")) and not values.get("retrain.inherit")
