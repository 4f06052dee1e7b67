"""The start of a run that goes on from an earlier one, with images that have grown (`noah.prepare.earlier`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noah.data.decoding import WHOLE_DEPTH
from noah.data.intake import Intake
from noah.errors import RunError, UsageError
from noah.prepare.context import Materials
from noah.prepare.earlier import gather_earlier, weights_of
from noah.prepare.new_run import start_run
from noah.progress import Listener
from noah.runs.folder import RUN_FILE, Run
from noah.settings.layers import Layer, flatten, nested, resolve
from noah.settings.settings import Settings

_KEPT = ("backbone.", "space.", "data.dataset", "data.shots", "data.list_seed")
"""Settings that the weights and the subnet belong to; all others may change, such as how images are found, read,
checked and grouped."""


def continued_settings(earlier: Run, changes: Sequence[Layer]) -> tuple[Settings, dict[str, str]]:
    """The settings of a run that goes on from another: the other's, with changes.

    This alone decides what may change. Images are decoded as the weights have learned them: transparent and 16-bit ones
    too, unless the changes say otherwise (`data.alpha`, `data.bit_depth`).

    Args:
        earlier: The other run.
        changes: Such as where the images are now.

    Returns:
        The settings, and the source of each.

    Raises:
        UsageError: If the earlier run's images have a name instead of a place, so that they cannot have grown, or a
            setting would change that its weights or its subnet belong to; names all of them.
        RunError: If its run.yaml is damaged.
        SettingsError: If settings are wrong; names all mistakes at once.
    """
    own = earlier.settings()
    if own.data.folder is None:
        raise UsageError(
            f"The images of {earlier.name} are the dataset {own.data.dataset}, which does not grow.",
            "Go on from a run with --data.",
        )
    base = Layer(source=f"run {earlier.name}", values=own.model_dump(mode="json"))
    source = f"from {earlier.name}"
    weights = Layer(source=source, values={"retrain": {"inherit": False}})
    settings, origins = resolve([base, *_as_decoded(earlier, own, source), *changes, weights])
    before, after = (dict(flatten(one.model_dump(mode="json"))) for one in (own, settings))
    changed = [key for key in sorted({*before, *after}) if key.startswith(_KEPT) and before.get(key) != after.get(key)]
    if changed:
        sources = {key: origins.get(key, "--set") for key in changed}
        named = dict.fromkeys(f"--set {key}" if told == "--set" else told for key, told in sources.items())
        raise UsageError(
            f"{' and '.join(named)} cannot stand beside --from, which keeps backbone, subnet and weights.",
            "Leave it out.",
        )
    return settings, origins


def _as_decoded(earlier: Run, own: Settings, source: str) -> list[Layer]:
    """How the earlier run decoded its images, where its settings leave it open."""
    try:
        decoding = Intake.from_json(earlier.description().get("images", {})).decoding
    except ValueError as error:
        raise RunError(
            f"{earlier.path(RUN_FILE)} is damaged: images: {error}.", "Restore the run folder from a copy."
        ) from error
    # "auto" came out at all 16 bits, or met no such images: it may look again.
    open_still = own.data.bit_depth == "auto" and decoding.bit_depth == WHOLE_DEPTH
    told = {"data.alpha": decoding.alpha, **({} if open_still else {"data.bit_depth": decoding.bit_depth})}
    known = dict(flatten(own.model_dump(mode="json")))
    return [Layer(source=source, values=nested(key, value)) for key, value in told.items() if known[key] != value]


def continue_run(
    root: Path,
    earlier: Run,
    settings: Settings,
    origins: dict[str, str],
    listener: Listener,
    *,
    name: str | None,
) -> tuple[Run, Materials]:
    """Make the folder of a run that goes on from another; its retraining starts from the other's weights.

    Args:
        root: The folder of all runs.
        earlier: The other run.
        settings: As `continued_settings` gave them.
        origins: The source of each.
        listener: Receives what becomes of images and classes.
        name: The run's id; None means the date and time.

    Raises:
        CommandOrderError: If the earlier run has not been retrained.
        NoahError: If anything is wrong with either run, the settings or the images.
    """
    known = gather_earlier(earlier, listener)
    listener.say(f"from      {earlier.name}: its subnet, and its weights to start from")
    subnet = str(earlier.path("retrain", "model.json"))
    return start_run(
        root,
        settings,
        origins,
        listener,
        name=name,
        subnet=subnet,
        earlier=known,
        weights=weights_of(earlier),
    )
