"""The settings of a sweep: those of each cell, and the check that a folder never mixes rows of different settings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.backbone.families.registry import sizes_of, view_of
from noah.backbone.load import load_backbone
from noah.benchmark.cells import Cell
from noah.benchmark.suites import SUITES, Suite
from noah.errors import RunError, SettingsError, UsageError
from noah.files.atomic import write_text
from noah.files.bounded import LARGEST_YAML, dump_yaml, parse_yaml, read_bounded
from noah.hardware.device import choose_hardware
from noah.prepare.auto import PLANNABLE, RECIPE, plan_parameters
from noah.progress import Listener
from noah.runs.folder import Run
from noah.runs.subnet_text import spell_widths
from noah.settings.layers import DEFAULT, Layer, flatten, is_planned, nested, resolve
from noah.settings.settings import Settings
from noah.space.baselines import closest_width
from noah.space.kinds import KINDS, PUBLISHED

SWEEP_FILE = "sweep.yaml"

_OWN = {
    "seed": "--seeds sets it",
    "data.dataset": "--tasks sets it",
    "data.folder": "a sweep is over the tasks of its suite",
    "data.shots": "a sweep is over the tasks of its suite",
    "data.list_seed": "a sweep is over the tasks of its suite",
    "trackers": "a sweep has its own tables and does not use trackers",
}
"""Settings that only the sweep itself may make, and why."""

MAY_DIFFER = (
    "data.root",
    "hardware.device",
    "hardware.precision",
    "hardware.threads",
    "hardware.evaluation_batch_size",
    "hardware.augmentation_workers",
)
"""The machine's settings, which may change when a sweep is resumed; the resulting precision may not."""
_TO_BE_PLANNED = "planned"
"""What `sweep.yaml` holds in the place of a value that each run plans for itself."""


@dataclass(frozen=True, slots=True)
class SweepSettings:
    """Where the settings of the cells come from.

    Attributes:
        suite: The suite, whose tasks' settings override the recipe's.
        recipe: The recipe's layer.
        changes: What the user changed, which overrides everything else.
    """

    suite: Suite
    recipe: Layer
    changes: tuple[Layer, ...]

    def of_task(self, name: str) -> tuple[Settings, dict[str, str]]:
        """The settings of all cells of a task that is trained on, apart from the seed, and the source of each.

        Raises:
            SettingsError: If any are wrong; it lists all mistakes at once.
        """
        return resolve(list(self._layers(name)))

    def of_cell(self, cell: Cell) -> tuple[Settings, dict[str, str]]:
        """The settings of a cell that trains, and the source of each."""
        seed = Layer(source="--seeds", values={"seed": cell.seed})
        return resolve([*self._layers(cell.task), seed])

    def planned(self, origins: Mapping[str, str]) -> frozenset[str]:
        """The settings that the runs of the cells plan, by the source of each setting of a task."""
        return frozenset(key for key in PLANNABLE if self._plans and origins[key] == DEFAULT)

    @property
    def _plans(self) -> bool:
        """Whether the runs of the cells plan settings that nothing sets."""
        return self.recipe.source == RECIPE

    def _layers(self, name: str) -> Iterator[Layer]:
        """The layers of a task: the recipe, the suite, and what the user changed."""
        yield self.recipe
        task = self.suite.task(name)
        schedule = {} if self._plans else task.schedule
        for key, value in {"data.dataset": task.dataset or task.name, **task.settings, **schedule}.items():
            yield Layer(source=f"suite {self.suite.name}", values=nested(key, value))
        for layer in self.changes:
            yield layer.model_copy(update={"values": _without_own(layer.values)})

    def methods(self) -> tuple[str, ...]:
        """The methods used unless others are named.

        They are the suite's; if it compares kinds and the budget bounds parameters, every kind of module besides
        prompts, LoRA and adapters is another, alone in every block at the width that comes closest to the bound.

        Raises:
            NoahError: If the settings are wrong, or the backbone cannot be loaded.
        """
        settings, origins = self.of_task(self.suite.tasks[0].name)
        parameters = settings.budget.parameters
        if not self.suite.compares_kinds or parameters is None:
            return self.suite.methods
        chosen = settings.backbone
        model = load_backbone(
            chosen.name,
            architecture=chosen.architecture,
            arguments=chosen.keywords,
            image_size=chosen.image_size,
            resize=chosen.resize,
        ).model
        if "budget.parameters" in self.planned(origins):
            parameters = plan_parameters(sum(weight.numel() for weight in model.parameters()))  # as the cells will
        widths = {
            kind: closest_width((kind,), view_of(model).depth, sizes_of(model), parameters)
            for kind in KINDS
            if kind not in PUBLISHED
        }
        kinds = [spell_widths({kind: width}) for kind, width in widths.items() if width]
        return self.suite.in_order([*self.suite.methods, *kinds])

    def check_own(self) -> None:
        """Refuse changes to settings that the sweep makes itself.

        Raises:
            SettingsError: If there are any; it lists all of them with their sources.
        """
        problems = [
            f"{key}: {_OWN[key]} ({layer.source})"
            for layer in self.changes
            for key, value in flatten(layer.values)
            if key in _OWN and not _is_unset(value)
        ]
        if problems:
            raise SettingsError(problems, "Leave them out; a settings file of this folder can be moved away meanwhile.")


def _is_unset(value: Any) -> bool:
    """Whether a setting holds nothing, as in a settings file that lists all of them."""
    return value is None or value == []


def _without_own(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings without those that the sweep makes itself and that hold nothing, which would replace its own."""
    return {
        key: _without_own(value, f"{prefix}{key}.") if isinstance(value, Mapping) else value
        for key, value in values.items()
        if not (f"{prefix}{key}" in _OWN and _is_unset(value))
    }


def begin_sweep(
    sweep: SweepSettings, cells: Sequence[Cell], folder: Path, listener: Listener, *, precision: str | None = None
) -> None:
    """Write the settings of a new sweep, or refuse to mix rows of different settings in one folder.

    Args:
        sweep: The settings; those of all tasks are written.
        cells: What is going to run; their tasks are added to a sweep that does not have them yet.
        folder: The folder of the sweep.
        listener: Receives what an older sweep does not have.
        precision: The precision of the cells, if other machines compute them; None for that of this machine.

    Raises:
        SettingsError: If the settings are wrong, or not those of the sweep that the folder holds.
        RunError: If the folder's settings cannot be read.
    """
    tasks = _own_tasks(sweep)
    precision = precision or choose_hardware(next(iter(tasks.values()))[0].hardware).precision
    values = _values(sweep, tasks, precision)
    path = folder / SWEEP_FILE
    if not path.exists():
        write_text(path, dump_yaml(path, values))
        return
    stored = _read(folder)
    before, now = _compare(folder, stored, values)
    new = values["tasks"].keys() - stored["tasks"].keys()
    asked = dict.fromkeys(cell.trained_by(sweep.suite.sources).task for cell in cells)
    added = {name: values["tasks"][name] for name in asked if name in new}
    if added:
        listener.say(f"note      The sweep in {folder} had no {' and no '.join(added)} yet; now it has.")
        write_text(path, dump_yaml(path, {**stored, "tasks": stored["tasks"] | added}))
    missing = sorted({_without_task(key) for key in now.keys() - before.keys() if key.partition(".")[0] not in new})
    if missing:
        listener.say(
            f"note      The sweep in {folder} was started by a noah that did not have {', '.join(missing)}; "
            "their values are those of this one."
        )


def check_same_sweep(sweep: SweepSettings, folder: Path) -> str | None:
    """Refuse a folder whose rows have other settings, and give the precision of those rows; None for a new folder.

    Raises:
        SettingsError: If the settings are wrong, or not those of the sweep that the folder holds.
        RunError: If the folder's settings cannot be read.
    """
    tasks = _own_tasks(sweep)
    if not (folder / SWEEP_FILE).exists():
        return None
    stored = _read(folder)
    asked = next(iter(tasks.values()))[0].hardware.precision
    _compare(folder, stored, _values(sweep, tasks, stored["precision"] if asked == "auto" else asked))
    return str(stored["precision"])


def sweep_digest(sweep: SweepSettings) -> str:
    """A short name that differs between sweeps whose rows may differ, whatever machines they run on."""
    text = dump_yaml(Path(SWEEP_FILE), _values(sweep, _own_tasks(sweep), ""))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _own_tasks(sweep: SweepSettings) -> dict[str, tuple[Settings, dict[str, str]]]:
    """The settings of the tasks that are trained on, and the source of each.

    Raises:
        SettingsError: If they are wrong.
    """
    sweep.check_own()
    return {task.name: sweep.of_task(task.name) for task in sweep.suite.tasks if task.source is None}


def _values(
    sweep: SweepSettings, tasks: Mapping[str, tuple[Settings, dict[str, str]]], precision: str
) -> dict[str, Any]:
    """What `sweep.yaml` holds."""
    return {
        "suite": sweep.suite.name,
        "precision": precision,
        "tasks": {name: _comparable(settings, sweep.planned(origins)) for name, (settings, origins) in tasks.items()},
    }


def _compare(
    folder: Path, stored: Mapping[str, Any], values: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give all settings as they are in the folder, and as they are now.

    Raises:
        SettingsError: If any differ; a setting that the folder does not have was the default.
    """
    if stored["suite"] != values["suite"]:
        raise SettingsError(
            [f"{folder} holds rows of the suite {stored['suite']}"], "Choose another folder with --out."
        )
    before, now = (dict(flatten({"precision": v["precision"], **v["tasks"]})) for v in (stored, values))
    defaults = dict(flatten(_comparable(Settings())))
    had = {f"{task}.{key}": value for task in stored["tasks"] for key, value in defaults.items()} | before
    problems = [
        f"{_without_task(key)}: the sweep in {folder} has {had[key]!r}, not {value!r}"
        for key, value in now.items()
        if key in had and had[key] != value
    ]
    if problems:
        hint = "Leave the change out, or choose another folder with --out."
        if any(now[key] == _TO_BE_PLANNED != value for key, value in had.items() if key in now):
            hint += " (An earlier noah did not keep which values it had planned; such a sweep has to be begun anew.)"
        raise SettingsError(list(dict.fromkeys(problems)), hint)  # most appear once for every task
    return before, now


def sweep_suite(folder: Path) -> Suite:
    """Find the suite whose rows a folder holds.

    Raises:
        UsageError: If there is no sweep in it.
        RunError: If its settings cannot be read.
    """
    if not (folder / SWEEP_FILE).is_file():
        raise UsageError(f"There is no sweep in {folder}.", "Start one with: noah benchmark SUITE --out FOLDER")
    name = _read(folder)["suite"]
    if name not in SUITES:
        raise RunError(f"{folder / SWEEP_FILE} names an unknown suite {name!r}.", "Choose another folder with --out.")
    return SUITES[name]


def check_unchanged(run: Run, now: Settings, origins: Mapping[str, str]) -> None:
    """Refuse to resume a cell's run that was begun with other settings.

    Those of the machine may differ, and those that the run planned for itself and nothing sets now.

    Args:
        run: The run.
        now: The settings of the cell.
        origins: The source of each.

    Raises:
        SettingsError: If any others differ; it lists all of them.
    """
    stored, asked = (dict(flatten(settings.model_dump(mode="json"))) for settings in (run.settings(), now))
    sources = run.description()["origins"]
    planned = {key for key in asked if origins[key] == DEFAULT and is_planned(sources.get(key, ""))}
    problems = [
        f"{key}: the run {run.folder} has {stored[key]!r}, not {value!r}"
        for key, value in asked.items()
        if stored[key] != value and key not in MAY_DIFFER and key not in planned
    ]
    if problems:
        raise SettingsError(problems, "Remove that folder to start this cell over.")


def machine_layers(settings: Settings) -> list[Layer]:
    """The machine's settings as layers, to override those of a run that was begun on another machine."""
    values = dict(flatten(settings.model_dump(mode="json")))
    return [Layer(source="this sweep", values=nested(key, values[key])) for key in MAY_DIFFER]


def _without_task(key: str) -> str:
    """Turn digits.retrain.epochs into retrain.epochs; precision stays as it is."""
    return key.partition(".")[2] or key


def _comparable(settings: Settings, planned: Collection[str] = ()) -> dict[str, Any]:
    """The settings that rows depend on, without those that the sweep makes itself, and the values of planned ones."""
    values: dict[str, Any] = {}
    for key, value in flatten(settings.model_dump(mode="json")):
        if key not in MAY_DIFFER and key not in _OWN:
            _put(values, key.split("."), _TO_BE_PLANNED if key in planned else value)
    return values


def _put(values: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for name in path[:-1]:
        values = values.setdefault(name, {})
    values[path[-1]] = value


def _read(folder: Path) -> dict[str, Any]:
    path = folder / SWEEP_FILE
    try:
        stored = parse_yaml(read_bounded(path, LARGEST_YAML).decode())
        if not isinstance(stored["suite"], str) or not isinstance(stored["tasks"], dict):
            raise TypeError
        return {"suite": stored["suite"], "precision": stored["precision"], "tasks": stored["tasks"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} does not hold the settings of a sweep.", "Choose another folder with --out.") from error
