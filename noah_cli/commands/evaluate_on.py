"""`noah eval --on`: the retrained winner on another data set with the same classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from noah.errors import UsageError
from noah.settings.layers import Layer
from noah_cli.terminal import console

if TYPE_CHECKING:  # It brings torch, which takes seconds.
    from noah.runs.folder import Run


def evaluate_on(
    listener: console.ConsoleListener, current: Run, changes: list[Layer], on: str, again: bool
) -> dict[str, Any]:
    """Find the other data set, tell how it was read, and measure; a result that is there already is given as it is.

    Raises:
        UsageError: The file of the result holds another result.
        NoahError: Whatever else is wrong with the run or the data set.
    """
    from noah.prepare.context import check_same_data, prepare
    from noah.stages.foreign_evaluation import evaluate_foreign, find_foreign
    from noah.stages.retrain_stage import read_result

    listener.say(f"run       {current.folder}")
    materials = prepare(current.settings(changes), listener)
    check_same_data(current, materials)
    foreign = find_foreign(on, materials.settings, materials.dataset.classes)
    listener.say(
        f"data      {foreign.name}: {len(foreign.split):,} images of {len(foreign.present):,} of the run's "
        f"{len(materials.dataset.classes):,} classes; only these can be predicted"
    )
    for note in foreign.notes:
        listener.say(f"          {note}")
    place = ("eval", "on", f"{foreign.name}.json")
    if current.path(*place).is_file() and not again:
        stored = read_result(current, *place)
        if stored.get("source") != foreign.source:
            raise UsageError(
                f"{current.path(*place)} holds the result of something else that is named {foreign.name}.",
                "Rename the folder after --on, or replace that result with --again.",
            )
        listener.say(f"eval      {current.name} was measured on {foreign.name} before; --again measures it anew.")
        return stored
    return evaluate_foreign(current, materials, foreign, listener)
