"""The suites of `noah benchmark`: their tasks, and their default recipes and methods."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS
from noah.errors import UsageError
from noah.space.kinds import KINDS
from noah.space.singles import LINEAR


@dataclass(frozen=True, slots=True)
class Task:
    """One dataset of a suite.

    Attributes:
        name: The name for `--dataset`.
        group: Tasks of the same group are averaged together.
        aliases: Other names for the task.
        settings: Settings that override the recipe's, by dotted key.
    """

    name: str
    group: str
    aliases: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Suite:
    """Tasks that are swept together.

    Attributes:
        name: The name for `noah benchmark`.
        recipe: The recipe used unless another is named.
        methods: The methods used unless others are named.
        tasks: All tasks, in the order of the tables.
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
    def names(self) -> tuple[str, ...]:
        """The names of all tasks, in order."""
        return tuple(task.name for task in self.tasks)

    def in_order(self, methods: Collection[str]) -> tuple[str, ...]:
        """Put methods in the order of the tables, each once: the suite's own, others by kind, and linear last."""

        def place(method: str) -> tuple[bool, int, int, str]:
            own = self.methods.index(method) if method in self.methods else len(self.methods)
            first = re.split(r"[:+]", method)[0]
            kind = list(KINDS).index(first) if first in KINDS else len(KINDS)
            return method == LINEAR, own, kind, method

        return tuple(sorted(set(methods), key=place))

    def choose(self, names: str | None) -> tuple[Task, ...]:
        """Read a comma-separated list of tasks, and give them in the suite's order; None means all.

        Raises:
            UsageError: If the suite does not have one of the names; it lists all such names.
        """
        if names is None:
            return self.tasks
        known = {alias: task for task in self.tasks for alias in (task.name, *task.aliases)}
        asked = [name.strip().lower().replace("-", "_") for name in names.split(",")]
        unknown = [name for name in asked if name not in known]
        if unknown:
            nearest = difflib.get_close_matches(unknown[0], known, n=1)
            raise UsageError(
                f"--tasks: the suite {self.name} has no {' and no '.join(repr(name) for name in unknown)}.",
                f"Did you mean {nearest[0]}?" if nearest else f"It has {', '.join(task.name for task in self.tasks)}.",
            )
        chosen = {known[name].name for name in asked}
        return tuple(task for task in self.tasks if task.name in chosen)


VTAB = Suite(
    name="vtab",
    recipe="vtab",
    methods=("noah", "lora:8", "adapter:8", "prompt:50", "linear"),
    tasks=tuple(Task(task.name, task.group, task.aliases) for task in VTAB_TASKS),
)
"""The 19 tasks of VTAB-1k, whose data has to be present."""

POCKET = Suite(
    name="pocket",
    recipe="pocket",
    methods=("noah", "lora:8", "adapter:8", "prompt:10", "linear"),
    tasks=(
        Task("digits", "pocket", settings={"backbone.image_size": 56}),
        Task("rendered_dsprites_loc", "pocket", ("dsprites_loc",), {"backbone.image_size": 70}),
        Task("rendered_dsprites_ori", "pocket", ("dsprites_ori",), {"backbone.image_size": 70}),
        Task("shapes_count", "pocket", settings={"backbone.image_size": 70}),
    ),
    compares_kinds=True,
)
"""Real and rendered tasks that need no download, small enough for two CPU cores."""

SUITES: Mapping[str, Suite] = {suite.name: suite for suite in (VTAB, POCKET)}
