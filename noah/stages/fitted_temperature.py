"""Fits the temperature of a trained network (`noah.evaluation.temperature`) on images that it was not trained on."""

from __future__ import annotations

from noah.evaluation.temperature import Temperature, fit_temperature
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.prepare.held_out import temperature_images
from noah.progress import Listener
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits


def fitted_temperature(
    model: Supernet, subnet: Subnet, materials: Materials, listener: Listener
) -> tuple[Temperature | None, str]:
    """Fit a network's temperature.

    Args:
        model: The trained network, in evaluation mode.
        subnet: What was trained of it.
        materials: What the run works with.
        listener: Receives the progress.

    Returns:
        The temperature, or None and the reason if there are no images to fit it on.
    """
    split, what = temperature_images(materials)
    if split is None:
        return None, what
    pixels = materials.pixels(split, "held-out", listener)
    return fit_temperature(merged_logits(model, subnet, pixels, materials), pixels.labels, what), ""


def spell_temperature(fitted: Temperature | None, why_none: str) -> str:
    """Say in words what was fitted, or why nothing was."""
    if fitted is None:
        return f"without temperature ({why_none})"
    before, after = fitted.calibration_error
    return (
        f"temperature {fitted.value:.3g}, fitted on {fitted.images:,} {fitted.fitted_on}; it takes their calibration "
        f"error from {before:.1%} to {after:.1%}"
    )
