"""What a sweep runs: one cell for each task, method and seed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from noah.errors import UsageError
from noah.files.record import Record
from noah.runs.subnet_text import parse_subnet, spell_subnet

SEARCHED = "noah"
"""The method that searches its subnet."""
PUBLISHED = "published"
"""The method that trains the subnet that was published for the task."""


@dataclass(frozen=True, slots=True)
class Cell(Record):
    """One training and its test, or one test of what another cell trained.

    Attributes:
        task: The name of the task.
        method: `noah`, `published`, or a subnet with the same widths in every block, as `parse_methods` spells it.
        seed: The seed of everything random.
    """

    task: str
    method: str
    seed: int

    @property
    def file_name(self) -> str:
        """The cell's name as part of a file's or folder's name."""
        return f"{self.task}-{re.sub(r'[^a-z0-9.]+', '-', self.method.lower())}-seed{self.seed}"

    def __str__(self) -> str:
        return f"{self.task} {self.method} seed {self.seed}"

    def trained_by(self, sources: Mapping[str, str]) -> Cell:
        """The cell whose subnet is tested: another one if the task has a source, and otherwise this one."""
        return replace(self, task=sources.get(self.task, self.task))

    @property
    def subnet(self) -> str | None:
        """The subnet to train, spelled as for `--subnet`; None if it is searched."""
        if self.method == SEARCHED:
            return None
        return f"published:{self.task}" if self.method == PUBLISHED else self.method


def plan_cells(tasks: Sequence[str], methods: Sequence[str], seeds: Sequence[int]) -> tuple[Cell, ...]:
    """List all cells, seed by seed, so that a sweep that is stopped early has complete tables for some seeds."""
    return tuple(Cell(task, method, seed) for seed in seeds for task in tasks for method in methods)


def parse_methods(text: str, *, published: bool) -> tuple[str, ...]:
    """Read a comma-separated list of methods, and spell each in one way: modules in their order, without zero widths.

    Args:
        text: What the user typed.
        published: Whether subnets were published for the tasks.

    Raises:
        UsageError: If one is not a method, or is given twice.
    """
    methods = tuple(_canonical(part.strip(), published) for part in text.split(","))
    _refuse_repeated("--methods", methods)
    return methods


def _canonical(method: str, published: bool) -> str:
    lower = method.lower()
    if lower in (SEARCHED, "linear") or (lower == PUBLISHED and published):
        return lower
    if lower == PUBLISHED:
        raise UsageError("--methods: nothing was published for the tasks of this suite.", "Leave published out.")
    try:
        if lower.startswith(f"{PUBLISHED}:") or lower.endswith(".json"):
            raise UsageError("a subnet for one task is not a method for all")
        subnet = parse_subnet(method, depth=1)
    except UsageError as error:
        raise UsageError(
            f"--methods: {method!r} is not a method.",
            "Choose from noah, published, linear, lora:8, lora_all:4, prompt:50, bias and the like, with commas.",
        ) from error
    return spell_subnet(subnet)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Read a comma-separated list of seeds.

    Raises:
        UsageError: If one is not a whole number from 0 to 2^32 - 1, or is given twice.
    """
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not re.fullmatch(r"[0-9]{1,10}", part) or int(part) >= 2**32]
    if wrong:
        raise UsageError(f"--seeds: {wrong[0]!r} is not a seed.", "Give whole numbers with commas, such as 0,1,2.")
    seeds = tuple(int(part) for part in parts)
    _refuse_repeated("--seeds", seeds)
    return seeds


def _refuse_repeated(option: str, values: Sequence[object]) -> None:
    repeated = [value for value in dict.fromkeys(values) if values.count(value) > 1]
    if repeated:
        raise UsageError(f"{option}: {repeated[0]} is given twice.", "Give each once.")
