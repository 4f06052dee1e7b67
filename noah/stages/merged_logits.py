"""The logits of a subnet's merged network, which is how every stage measures a subnet."""

from __future__ import annotations

from noah.data.pixels.pixels import Pixels
from noah.errors import TrainingError
from noah.evaluation.score import Logits, compute_logits, finite_rows
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.progress import Bar
from noah.space.subnet import Subnet


def merged_logits(
    supernet: Supernet, subnet: Subnet, pixels: Pixels, materials: Materials, bar: Bar | None = None
) -> Logits:
    """Compute float32 logits (n, classes) of all images with the subnet's merged network.

    Raises:
        TrainingError: If some are not finite, so that no figure computed from them would mean anything.
    """
    logits = compute_logits(
        merge(supernet, subnet),
        pixels,
        materials.backbone.preprocessing,
        materials.hardware,
        materials.evaluation_batch_size,
        bar,
    )
    finite = finite_rows(logits)
    if not finite.all():
        raise TrainingError(
            f"The subnet's logits are not finite for {(~finite).sum():,} of {len(logits):,} images.",
            "Try --precision fp32."
            if materials.hardware.precision != "fp32"
            else "Train it with a lower learning rate.",
        )
    return logits
