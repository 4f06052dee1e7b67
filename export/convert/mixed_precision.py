"""Which blocks of a network lose most in 8 bits, so that they may stay in float32.

For each block, a file is written with all others in 8 bits, and run on some of the images that calibrate. The block
without which the outputs come closest to float32's loses most.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Final

from export.convert.accuracy_loss import LogProbabilities, divergence, log_probabilities
from export.convert.int8_images import CalibrationBatches
from export.convert.int8_writer import Int8Writer, Way
from export.runtime.tensors import INPUT_NAME
from noah.progress import Listener, Silent

LARGEST_SHARE: Final = 0.5
"""How many of the blocks may stay in float32: with more, the file would hardly be smaller or faster."""
IMAGES: Final = 64
"""How many images tell which block loses most."""


def worst_blocks(writer: Int8Writer, way: Way, listener: Listener, *, raw_pixels: bool) -> list[int]:
    """Order the blocks that have products in 8 bits, the one that loses most first.

    Args:
        writer: Writes the files.
        way: How all blocks are quantized.
        listener: Shows the progress.
        raw_pixels: Whether the files take raw pixels; else normalized ones.

    Returns:
        As many blocks as may stay in float32, counted as in `Products`.
    """
    blocks = sorted(set(writer.products(way.float_blocks).blocks))
    if not (most := int(LARGEST_SHARE * len(blocks))):
        return []
    batches = CalibrationBatches(writer.calibrating, raw_pixels=raw_pixels, bar=Silent(), count=IMAGES)

    def outputs(file: Path) -> LogProbabilities:
        return log_probabilities(file, (batch[INPUT_NAME] for batch in batches), writer.threads)

    expected, left = outputs(writer.float32), {}
    with listener.bar("looking for the blocks that lose most", len(blocks), "blocks") as bar:
        for done, block in enumerate(blocks, start=1):
            file = writer.quantized(replace(way, float_blocks=(*way.float_blocks, block)))
            left[block] = divergence(outputs(file), expected)
            shutil.rmtree(file.parent)
            bar.update(done)
    return sorted(blocks, key=lambda block: left[block])[:most]
