"""The subnets that the authors published: 19 for the tasks of VTAB-1k, 26 for the few-shot datasets and ImageNet.

All are for ViT-B/16 with 12 blocks and D = 768. On that backbone the mean for VTAB-1k is 0.360 M trainable parameters
(0.443 M as `Subnet.reference_count` counts them, with a largest prompt of 100). For the few-shot datasets, only the
subnets searched with the lists of seed 0 are known; ImageNet's is for 16 shots.

Source: the experiment settings published with "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673).
"""

from __future__ import annotations

import difflib
import json
import re
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from noah.data.sources.few_shot_sets import FEW_SHOT_SETS, SHOTS, find_few_shot_set
from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS, find_vtab_task
from noah.errors import UsageError
from noah.space.subnet import Subnet

PUBLISHED_FILE = "published_subnets.json"
"""The file in this package that maps groups, and the authors' names in each, to widths."""

_THEIR_FEW_SHOT_NAME = re.compile(r"(.+)_shot([0-9]+)-seed0")
_EXAMPLES = "Published are the 19 tasks of VTAB-1k, such as cifar, and the few-shot sets, such as food101:16."


def published_names() -> tuple[str, ...]:
    """The names of all 45 subnets: VTAB-1k's tasks in the order of the tables, then `SET:SHOTS` by set and shots."""
    return tuple(_subnets())


def published_subnet(name: str) -> Subnet:
    """Find a published subnet by name.

    Args:
        name: A task of VTAB-1k (`cifar`), a few-shot dataset with its shots (`food101:16`), or the latter as the
            authors spell it (`food-101_shot16-seed0`). Aliases work, too; capitals and hyphens make no difference. If
            both have a name without shots, it means VTAB-1k's.

    Raises:
        UsageError: If nothing is published under this name; it suggests the nearest name, or the published shots.
    """
    text = name.strip().lower()
    theirs = _THEIR_FEW_SHOT_NAME.fullmatch(text)
    data, colon, shots = (theirs[1], ":", theirs[2]) if theirs else map(str.strip, text.partition(":"))
    task, few_shot = find_vtab_task(data), find_few_shot_set(data)
    if task and not colon:
        return _subnets()[task.name]
    if few_shot:
        known = [published for published in _subnets() if published.startswith(f"{few_shot.name}:")]
        if f"{few_shot.name}:{shots}" in known:
            return _subnets()[f"{few_shot.name}:{shots}"]
        problem = "none is for these shots" if shots else "its shots are missing"
        raise UsageError(
            f"No published subnet is named {name!r}: {problem}.",
            f"For {few_shot.name} these are published: {', '.join(known)}.",
        )
    if task:
        raise UsageError(
            f"No published subnet is named {name!r}: {task.name} is a task of VTAB-1k, which has no shots.",
            f"Write it as {task.name}.",
        )
    near = _nearest(data, shots if colon else None)
    guess = f"Did you mean {near}? " if near else ""
    raise UsageError(f"No published subnet is named {name!r}.", f"{guess}{_EXAMPLES}")


def _nearest(data: str, shots: str | None) -> str:
    """The published name whose dataset is spelled most like `data`; empty if none is close."""
    tasks = {name: task.name for task in VTAB_TASKS for name in task.names}
    sets: dict[str, str] = {}
    for known in FEW_SHOT_SETS:
        as_typed = f"{known.name}:{shots}"
        suggestion = as_typed if as_typed in _subnets() else f"{known.name}:{max(SHOTS)}"
        sets |= dict.fromkeys(known.names, suggestion)
    names = sets | tasks if shots is None else tasks | sets
    close = difflib.get_close_matches(data.replace("-", "_"), names, n=1)
    return names[close[0]] if close else ""


@cache
def _subnets() -> MappingProxyType[str, Subnet]:
    """All published subnets by noah's names, in the order of `published_names`."""
    content = json.loads(files("noah.runs").joinpath(PUBLISHED_FILE).read_text(encoding="utf-8"))
    found = {}
    for name, widths in content["vtab"].items():
        if task := find_vtab_task(name):
            found[task.name] = Subnet.from_json(widths)
    for name, widths in content["few_shot"].items():
        theirs = _THEIR_FEW_SHOT_NAME.fullmatch(name)
        if theirs and (few_shot := find_few_shot_set(theirs[1])):
            found[f"{few_shot.name}:{theirs[2]}"] = Subnet.from_json(widths)
    order = [task.name for task in VTAB_TASKS]
    order += [f"{known.name}:{shots}" for known in FEW_SHOT_SETS for shots in SHOTS]
    return MappingProxyType({name: found[name] for name in order if name in found})
