"""The settings of 8-bit quantization."""

from __future__ import annotations

from dataclasses import dataclass

from export.artifact.records import Int8Calibration

CALIBRATIONS: tuple[Int8Calibration, ...] = ("minmax", "percentile", "entropy")
"""In the order in which they are tried. On the digits run of `make demo`, over 512 images, all three do equally well:
their logits are off by 0.9 % of the largest on average, and test accuracy rises by 0 to 0.3 points. minmax takes half
the time of percentile and does not clip: percentile at 99.99 instead of 99.999 lost half a point, since a few large
activations matter a lot.
"""
DEFAULT_IMAGES = 512


@dataclass(frozen=True)
class Int8Options:
    """How to quantize.

    Attributes:
        calibration: How to choose an activation's range from the values seen; None tries `CALIBRATIONS` until the
            accuracy is good enough. Not used by int8-dynamic.
        images: Number of training images to calibrate on.
        exclude_last_block: Leave the products of the last block in float32.
        smooth: Move outliers of activations into weights (`export.convert.smoothing`).
        mixed: Leave the blocks that lose most in float32 if the accuracy is not good enough without.
    """

    calibration: Int8Calibration | None = None
    images: int = DEFAULT_IMAGES
    exclude_last_block: bool = False
    smooth: bool = True
    mixed: bool = True


DEFAULT_INT8 = Int8Options()
