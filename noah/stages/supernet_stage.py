"""The training of a run's supernet, for as many epochs as the settings say or as a time limit allows."""

from __future__ import annotations

import time

from noah.cluster.session import Cluster
from noah.model.supernet import Supernet
from noah.prepare.build import class_weights
from noah.prepare.context import Materials
from noah.prepare.forecast import SEARCH_SHARE, forecast, plan_epochs
from noah.progress import Listener
from noah.runs.file_shapes import Plan, check_shape
from noah.runs.folder import Run
from noah.runs.seals import SUPERNET, break_seal, is_sealed, seal_supernet
from noah.settings.training_settings import SupernetSettings, shortened
from noah.space.budget import Budget
from noah.space.budget_text import spell_seconds
from noah.stages.spread_supernet import choose_trainers, spread_epochs
from noah.stages.supernet_epochs import TITLE, train_epochs, untrained_supernet
from noah.training.checkpoint import load_weights, read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah.training.divergence import doubt


def train_supernet(
    run: Run,
    materials: Materials,
    budget: Budget,
    listener: Listener,
    *,
    time_limit: float | None = None,
    cluster: Cluster | None = None,
) -> Supernet:
    """Train the supernet, resume its training, or load it if its training is finished.

    Under a time limit, a few steps are timed first, and the number of epochs is chosen to leave time for the search;
    the learning rate then decays over these epochs. The choice is stored in supernet/plan.json, which a resumed
    training follows.

    Args:
        run: Gets the checkpoint and the losses.
        materials: What the run works with.
        budget: What the candidates of the search may cost; the timing draws some of them.
        listener: Receives the progress, and the number of epochs with its reason if it is chosen.
        time_limit: Seconds from now for the training and the search after it.
        cluster: The machines whose processes may train it together; None for this process.

    Returns:
        The supernet, in evaluation mode.
    """
    started = time.monotonic()
    settings = _planned(run, materials.settings.supernet)
    checkpoint = run.path("supernet", CHECKPOINT_FILE)
    stored = read_checkpoint(checkpoint) if checkpoint.exists() else None
    done, kept = (len(stored.losses) if stored else 0), 0.0
    if done < settings.epochs:
        break_seal(run, SUPERNET)
    if time_limit is not None and done < settings.epochs:
        settings, kept = _fit(run, materials, budget, settings, done, time_limit, listener)
        settings, kept = materials.hardware.processes.of_first(lambda: (settings, kept))
    supernet = untrained_supernet(materials, settings)
    if stored and len(stored.losses) >= settings.epochs:
        load_weights(stored, supernet)
        run.write_json({"losses": list(stored.losses)}, "supernet", "losses.json")
        if not is_sealed(run, SUPERNET):  # it was stopped just before sealing, or an earlier version trained it
            seal_supernet(run)
        return supernet.eval()
    pixels = materials.training_pixels(materials.dataset.train, settings.augmentation, listener)
    together, reason = choose_trainers(materials, settings, cluster)
    run.log("supernet", "started", epochs=done, processes=together)

    def seconds_left() -> float | None:
        return None if time_limit is None else time_limit - kept - (time.monotonic() - started)

    def enough() -> bool:
        left = seconds_left()
        return left is not None and left < 0

    with listener.bar(TITLE, settings.epochs, "epochs") as bar:
        if cluster is not None and together > 1:
            listener.say(f"trainers  {together} ({reason})")
            losses = spread_epochs(cluster, together, run, materials, settings, pixels, listener, bar, seconds_left)
            load_weights(read_checkpoint(checkpoint), supernet)
        else:
            losses = train_epochs(run, materials, supernet, settings, pixels, listener, bar, enough)
    if len(losses) < settings.epochs:
        listener.say(f"stopped   after {len(losses)} of {settings.epochs} epochs, to leave time for the search")
        _keep_plan(run, len(losses), "the time limit, which came sooner than expected")
    weights = class_weights(pixels, materials)
    if warning := doubt("The supernet", losses[-1], pixels.labels, "supernet", settings, weights):
        listener.say(f"WARNING   {warning}")
    run.write_json({"losses": losses}, "supernet", "losses.json")
    run.log("supernet", "finished", loss=losses[-1], warning=warning)
    seal_supernet(run)
    return supernet.eval()


def _planned(run: Run, settings: SupernetSettings) -> SupernetSettings:
    """The settings, with the number of epochs that an earlier command chose, if it did."""
    if not run.path("supernet", "plan.json").is_file():
        return settings
    path, hint = run.path("supernet", "plan.json"), "Remove it to train in all epochs."
    epochs: int = check_shape(run.read_json("supernet", "plan.json"), Plan, path, hint)["epochs"]
    return shortened(settings, min(epochs, settings.epochs))


def _fit(
    run: Run,
    materials: Materials,
    budget: Budget,
    settings: SupernetSettings,
    done: int,
    time_limit: float,
    listener: Listener,
) -> tuple[SupernetSettings, float]:
    """Choose the epochs that fit into the time, report and store them; returns settings and the search's seconds.

    A resumed training has already finished `done` epochs.
    """
    started = time.monotonic()
    made = forecast(materials, budget, listener, retraining=False)
    left = time_limit - (time.monotonic() - started)
    kept = min(SEARCH_SHARE * time_limit, made.search.seconds)
    epochs = min(done + plan_epochs(left, made, materials.settings), settings.epochs)
    if epochs == settings.epochs:
        return settings, kept
    reason = f"of {settings.epochs}: one takes about {spell_seconds(made.epoch_seconds)}, and the search needs the rest"
    listener.say(f"epochs    {epochs} ({reason})")
    _keep_plan(run, epochs, reason)
    return shortened(settings, epochs), kept


def _keep_plan(run: Run, epochs: int, reason: str) -> None:
    run.write_json({"epochs": epochs, "reason": reason}, "supernet", "plan.json")
