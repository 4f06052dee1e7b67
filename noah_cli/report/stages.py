"""The stages of a run as a row: which are done, which is in progress, which are still to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from noah.progress import counted
from noah_cli.report.artifacts import Exported
from noah_cli.report.reading import Missing
from noah_cli.report.searched import Searched
from noah_cli.report.tested import Measured
from noah_cli.report.trained import Training


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a run.

    Args:
        name: Its name on the page.
        state: Whether it is done, in progress or still open.
        detail: A few words about it.
    """

    name: str
    state: Literal["done", "begun", "open"]
    detail: str


def gather_stages(
    supernet: Training | Missing,
    searched: Searched | Missing,
    retrained: Training | Missing,
    tested: Measured | Missing,
    exported: Exported | Missing,
    given: bool,
) -> tuple[Stage, ...]:
    """List the stages of a run in order.

    Args:
        supernet: The training of the supernet.
        searched: The search.
        retrained: The training of the subnet.
        tested: The test.
        exported: The artifacts.
        given: Whether the subnet was given, so that there is no search.
    """
    stages = [] if given else [_training("supernet", supernet), _search(searched)]
    stages.append(_training("train" if given else "retrain", retrained))
    if isinstance(tested, Missing):
        stages.append(Stage("test", "open", "not yet"))
    else:
        stages.append(Stage("test", "done", f"{tested.right.share:.2%} of {tested.right.total:,} images"))
    if isinstance(exported, Missing):
        return (*stages, Stage("export", "open", "not yet"), Stage("bench", "open", "not yet"))
    count = len(exported.artifacts)
    stages.append(Stage("export", "done" if count else "open", counted(count, "artifacts")))
    measured = not isinstance(exported.bench, Missing)
    return (*stages, Stage("bench", "done" if measured else "open", "speed" if measured else "not yet"))


def _training(name: str, training: Training | Missing) -> Stage:
    if isinstance(training, Missing):
        return Stage(name, "open", "not yet")
    if training.finished:
        return Stage(name, "done", f"{len(training.losses):,} epochs")
    return Stage(name, "begun", f"{len(training.losses):,} of {training.epochs:,} epochs")


def _search(searched: Searched | Missing) -> Stage:
    if isinstance(searched, Missing):
        return Stage("search", "open", "not yet")
    count = len(searched.candidates)
    if searched.winner is None:
        return Stage("search", "begun", f"{count:,} subnets")
    return Stage("search", "done", f"{count:,} subnets")
