"""The recipe `auto`: what a run spends is planned from its images, its backbone, the device's speed and a time limit.

The constants come from the development tasks of docs/choice.md: ViT-S at 56 px, 500 images. Whatever a settings file or
an option says is left as it is; the plan only takes the place of defaults.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from noah.prepare.context import Materials
from noah.prepare.forecast import Forecast, forecast
from noah.prepare.run_budget import counted_budget, decide_budget
from noah.progress import Listener
from noah.settings.layers import DEFAULT, LIMITED, PLANNED, Layer, is_planned, nested, resolve
from noah.settings.settings import has_final
from noah.space.baselines import LINEAR, even_mixtures, singles
from noah.space.budget_text import spell_seconds

RECIPE = "recipe auto"
"""The source of settings that the recipe itself gives."""
PLANNABLE = (
    "budget.parameters",
    *(f"{stage}.{key}" for stage in ("supernet", "retrain") for key in ("epochs", "batch_size", "learning_rate")),
    *("search.rerank_epochs", "search.invited"),
)
"""The settings that are planned where nothing sets them."""
EPOCHS, IMAGES = 15, 500
"""Epochs of a training, and the images at which they were found: half of them and twice as many were both worse."""
_MOST_EPOCHS, _LEAST_EPOCHS = 60, 3
_SMALL_WIDTH = 512
"""Backbones with tokens up to this width take the learning rate found on ViT-S; larger ones that of the paper."""
_BUDGET_SHARE = 0.0075
"""Of the backbone's weights: 0.64 M for ViT-B, as in the paper, and 0.16 M for ViT-S."""
_LEAST_BUDGET = 10_000
"""Budgets are whole multiples of it."""
_FEW = 5
"""With fewer training images a class than this, a head alone may be as good as any module."""
_MARGIN = 0.9
"""The share of a time limit that is planned with; the rest is for what a forecast cannot know."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A planned value and the reason for it."""

    value: Any
    reason: str


def plan(images: int, weights: int, embed_dim: int) -> dict[str, Planned]:
    """Plan the settings of a run that no time limits.

    Args:
        images: Number of images of the final training.
        weights: Number of the backbone's weights.
        embed_dim: Width D of its tokens.

    Returns:
        Dotted key -> its value and the reason.
    """
    epochs = min(_MOST_EPOCHS, max(EPOCHS, round(EPOCHS * math.sqrt(IMAGES / images))))
    of_epochs = f"{EPOCHS} from {IMAGES} images on, more for fewer; there are {images:,}"
    batch = max(8, min(32, images // 20))
    of_batch = "a twentieth of the images, at least 8 and at most 32"
    small = embed_dim <= _SMALL_WIDTH
    rate = 2e-3 if small else 1e-3
    of_rate = "as found for ViT-S, whose tokens are as narrow" if small else "the paper's, for wide tokens"
    of_budget = f"{_BUDGET_SHARE:.2%} of the backbone's weights, at least {_LEAST_BUDGET:,}"
    planned = {"budget.parameters": Planned(plan_parameters(weights), of_budget)}
    for section in ("supernet", "retrain"):
        planned[f"{section}.epochs"] = Planned(epochs, of_epochs)
        planned[f"{section}.batch_size"] = Planned(batch, of_batch)
        planned[f"{section}.learning_rate"] = Planned(rate, of_rate)
    return planned


def plan_parameters(weights: int) -> int:
    """The bound on parameters for a backbone of so many weights."""
    return _LEAST_BUDGET * max(1, round(_BUDGET_SHARE * weights / _LEAST_BUDGET))


def adapt(
    materials: Materials,
    origins: Mapping[str, str],
    listener: Listener,
    *,
    searches: bool = True,
    time_limit: float | None = None,
) -> tuple[Materials, dict[str, str]]:
    """Plan a new run if its recipe is `auto`, and say each choice with its reason; other runs are left as they are.

    With a time limit a few steps of each stage are timed, and all trainings get fewer epochs if that is necessary for
    the search to end in time; the final training of `noah retrain` is not counted.

    Args:
        materials: What the run works with, prepared with the settings as the recipe gives them.
        origins: The source of each setting.
        listener: Receives the choices.
        searches: Whether the run searches; of one that trains a given subnet, only that training is planned.
        time_limit: Seconds for the whole search; None for no limit.

    Returns:
        The materials with the planned settings, and the sources of all settings.
    """
    if RECIPE not in origins.values():
        return materials, dict(origins)
    weights = sum(parameter.numel() for parameter in materials.backbone.model.parameters())
    planned = plan(len(materials.dataset.full_train), weights, materials.space.embed_dim)
    planned |= _beyond_warmup(materials, planned)
    if not searches:
        planned = {key: choice for key, choice in planned.items() if key.startswith("retrain.")}
    materials, sources = _with(materials, origins, planned, PLANNED)
    if searches and has_final(materials.settings.search):
        planned |= (final := _final(materials))
        materials, sources = _with(materials, sources, final, PLANNED)
    if searches and time_limit is not None:
        planned |= (fewer := _within(materials, sources, listener, time_limit))
        materials, sources = _with(materials, sources, fewer, LIMITED)
    for key, choice in planned.items():
        if is_planned(sources[key]):
            listener.say(f"auto      {key}={_spelled(choice.value)} ({choice.reason})")
    return materials, sources


def _final(materials: Materials) -> dict[str, Planned]:
    """The epochs of the finalists, and the baselines that are invited, as far as the space and the budget have them."""
    few = len(materials.dataset.full_train) / len(materials.dataset.classes) < _FEW
    space, budget = materials.space, counted_budget(materials)
    known = {**singles(space, budget), **even_mixtures(space, budget)} if materials.settings.search.baselines else {}
    names = tuple(name for name in ("lora", "lora+bias", LINEAR if few else "adapter") if name in known)
    reason = "the best on other tasks, and one that errs otherwise"
    if few:
        reason = f"the best on other tasks, and the head alone, as there are fewer than {_FEW} images a class"
    epochs = materials.settings.retrain.epochs
    planned = {"search.rerank_epochs": Planned(epochs, "as the final training: shorter ones prefer fast learners")}
    return planned | ({"search.invited": Planned(names, reason)} if names else {})


def _beyond_warmup(materials: Materials, planned: Mapping[str, Planned]) -> dict[str, Planned]:
    """More epochs, where the warm-up that is set would leave none at the full learning rate."""
    found = {}
    for section in ("supernet", "retrain"):
        key = f"{section}.epochs"
        if planned[key].value < (least := _least_epochs(materials, key)):
            found[key] = Planned(least, "one more than those of the warm-up")
    return found


def _least_epochs(materials: Materials, key: str) -> int:
    """How few epochs a setting may give a training: the warm-up has to end before they do."""
    settings = materials.settings.supernet if key == "supernet.epochs" else materials.settings.retrain
    warmup = settings.warmup_epochs
    return max(_LEAST_EPOCHS, math.floor(warmup) + 1)


def _within(
    materials: Materials, sources: Mapping[str, str], listener: Listener, time_limit: float
) -> dict[str, Planned]:
    """Fewer epochs where they were planned, if the search would take longer than the limit."""
    processes = materials.hardware.processes
    made = forecast(materials, decide_budget(materials, listener)[0], listener)
    free = _planned_epochs(materials, sources)
    factor = processes.of_first(lambda: _share_of_training(made, free, time_limit))
    at = f"at {spell_seconds(made.step_seconds)} a step"
    fewer = {}
    for key, epochs in free.items():
        fitting, least = math.floor(factor * epochs), _least_epochs(materials, key)
        if fitting < least:
            fewer[key] = Planned(least, f"the fewest that make sense; {at} {fitting} fit")
        else:
            fewer[key] = Planned(fitting, f"what fits {at}")
    return {key: choice for key, choice in fewer.items() if choice.value < free[key]}


def _planned_epochs(materials: Materials, sources: Mapping[str, str]) -> dict[str, int]:
    """The epochs that were planned, by setting; those of the winner's training only with those of its finalists."""
    settings, found = materials.settings, {}
    if is_planned(sources["supernet.epochs"]):
        found["supernet.epochs"] = settings.supernet.epochs
    if settings.search.rerank_epochs is not None and is_planned(sources["search.rerank_epochs"]):
        found["search.rerank_epochs"] = settings.search.rerank_epochs
        if is_planned(sources["retrain.epochs"]):
            found["retrain.epochs"] = settings.retrain.epochs
    return found


def _share_of_training(made: Forecast, free: Collection[str], time_limit: float) -> float:
    """The share of the planned epochs for which a time limit leaves time; epochs that were set stay."""
    seconds = {"supernet.epochs": made.supernet.seconds}
    seconds["search.rerank_epochs"] = made.finalists.seconds if made.finalists else 0.0
    planned = sum(spent for key, spent in seconds.items() if key in free)
    left = _MARGIN * time_limit - made.search.seconds - (sum(seconds.values()) - planned)
    return max(0.0, left) / planned if planned else 1.0


def _with(
    materials: Materials, origins: Mapping[str, str], planned: Mapping[str, Planned], mark: str
) -> tuple[Materials, dict[str, str]]:
    """Put planned values in the place of defaults and of values planned before."""
    taken = {key: choice for key, choice in planned.items() if origins[key] == DEFAULT or is_planned(origins[key])}
    layers = [Layer(source=mark + choice.reason, values=nested(key, choice.value)) for key, choice in taken.items()]
    settings, _ = resolve([Layer(source="", values=materials.settings.model_dump(mode="json")), *layers])
    sources = {**origins, **{key: mark + choice.reason for key, choice in taken.items()}}
    return replace(materials, settings=settings), sources


def _spelled(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)
