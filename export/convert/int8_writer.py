"""Writes a network in 8 bits in one way or another, from one float32 file or its smoothed counterpart."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
import torch
from torch import nn

from export.artifact.records import Int8Calibration, Int8Precision
from export.convert.int8_images import CalibrationBatches, calibration_pixels
from export.convert.int8_options import Int8Options
from export.convert.onnx_products import Products, choose_products
from export.convert.quantize import write_int8, write_int8_dynamic
from export.convert.smoothing import Smoothed, smooth
from export.runtime.tensors import INPUT_NAME
from noah.data.pixels.pixels import Pixels
from noah.model.merge import MergedViT
from noah.prepare.context import Materials
from noah.prepare.held_out import trained_on
from noah.progress import Listener, Silent, joined

WriteFloat32 = Callable[[nn.Module, Path], None]
"""Writes a network in float32 to a file."""

_SMOOTHING_IMAGES = 128
"""How many of the images for calibration are run to find the largest values of each channel."""


@dataclass(frozen=True)
class Way:
    """One way to quantize.

    Attributes:
        smoothed: Whether outliers of activations are moved into the weights first.
        calibration: How ranges are found; None finds them in each batch when it is run.
        float_blocks: Blocks that stay in float32, counted from 0; -1 stands for what is outside the blocks.
    """

    smoothed: bool
    calibration: Int8Calibration | None
    float_blocks: tuple[int, ...] = ()

    def __str__(self) -> str:
        """In words, as in "smoothed, minmax, blocks 3 and 7 in float32"."""
        parts = ["smoothed"] if self.smoothed else ["not smoothed"]
        parts += [self.calibration] if self.calibration else []
        parts += [f"{named_blocks(self.float_blocks)} in float32"] if self.float_blocks else []
        return ", ".join(parts)


def named_blocks(blocks: Collection[int]) -> str:
    """Name blocks, counted from 1, as in "blocks 3 and 7"."""
    numbers = [str(block + 1) for block in sorted(blocks) if block >= 0]
    named = [f"block{'s' if len(numbers) > 1 else ''} {joined(numbers)}"] if numbers else []
    return joined([*named, *(["what is outside the blocks"] if -1 in blocks else [])])


class Int8Writer:
    """Writes a network in 8 bits; what several files share is computed once.

    Args:
        network: The merged network.
        write: Writes such a network in float32.
        folder: An empty folder for all files.
        name: What the files are called, each in a folder of its own.
        precision: int8 for calibrated ranges, int8-dynamic for ranges that are found in each batch.
        options: Of quantization.
        materials: The run's training images calibrate.
        listener: Prints each step.
        raw_pixels: Whether the network takes raw pixels; else normalized ones.
        symmetric: Whether activations are signed, as TensorRT needs them; see `write_int8`.
    """

    def __init__(
        self,
        network: MergedViT,
        write: WriteFloat32,
        folder: Path,
        name: str,
        precision: Int8Precision,
        options: Int8Options,
        materials: Materials,
        listener: Listener,
        *,
        raw_pixels: bool,
        symmetric: bool,
    ) -> None:
        self._network = network
        self._write = write
        self._folder = folder
        self._name = name
        self._precision = precision
        self._options = options
        self._materials = materials
        self._listener = listener
        self._raw_pixels = raw_pixels
        self._symmetric = symmetric

    @cached_property
    def float32(self) -> Path:
        """The network in float32."""
        return self._in_float32(self._network, "float32")

    @cached_property
    def calibrating(self) -> Pixels:
        """The images that calibrate."""
        return calibration_pixels(self._materials, self._options.images, self._listener)

    @property
    def threads(self) -> int | None:
        """CPU threads that were asked for; None for a choice."""
        return self._materials.settings.hardware.threads

    @property
    def smoothed_places(self) -> dict[str, int]:
        """How many activations are smoothed where a way asks for it, by where in a block they are."""
        return self._smoothed.places

    def ranges_of(self, way: Way) -> str:
        """Where the ranges of the activations come from, in words."""
        if way.calibration is None:
            return "each batch when it is run"
        images = f"{len(self.calibrating):,} training images of {self._materials.dataset.name}"
        return f"{way.calibration} over {images}{trained_on(self.calibrating.split, self._materials)}"

    def products(self, float_blocks: Collection[int] = ()) -> Products:
        """Which products are quantized if some blocks stay in float32."""
        return self._products(self.float32, float_blocks)

    def quantized(self, way: Way) -> Path:
        """Write the network in 8 bits.

        Raises:
            ExportError: If it cannot be quantized.
        """
        source = self._smoothed_float32 if way.smoothed else self.float32
        products = self._products(source, way.float_blocks)
        blocks = "".join(f"-{block}" for block in way.float_blocks)
        target = self._new_file(f"{'smoothed' if way.smoothed else 'plain'}-{way.calibration or 'dynamic'}{blocks}")
        if way.calibration is None:
            write_int8_dynamic(source, target, products)
            return target
        ranges = self._folder / f"{source.parent.name}-{way.calibration}.json"
        found = ranges.is_file()
        if not found:
            few = " (all there are)" if len(self.calibrating) < self._options.images else ""
            self._listener.say(f"calibrate {self.ranges_of(way)}{few}")
        shown = Silent() if found else self._listener
        with shown.bar("calibrating", len(self.calibrating), "images") as bar:
            batches = CalibrationBatches(self.calibrating, raw_pixels=self._raw_pixels, bar=bar)
            write_int8(
                source,
                target,
                products,
                batches,
                calibration=way.calibration,
                symmetric=self._symmetric,
                ranges=ranges,
            )
        return target

    def _products(self, source: Path, float_blocks: Collection[int]) -> Products:
        return choose_products(
            onnx.load(str(source), load_external_data=False),
            gemm=self._precision == "int8",
            exclude_last_block=self._options.exclude_last_block,
            float_blocks=float_blocks,
        )

    @cached_property
    def _smoothed(self) -> Smoothed:
        count = min(_SMOOTHING_IMAGES, len(self.calibrating))
        with self._listener.bar("smoothing", count, "images") as bar:
            batches = CalibrationBatches(self.calibrating, raw_pixels=self._raw_pixels, bar=bar, count=count)

            def forward(network: MergedViT) -> None:
                for batch in batches:
                    network(torch.from_numpy(batch[INPUT_NAME]))

            return smooth(self._network, forward)

    @cached_property
    def _smoothed_float32(self) -> Path:
        return self._in_float32(self._smoothed.network, "smoothed")

    def _in_float32(self, network: nn.Module, name: str) -> Path:
        file = self._new_file(name)
        self._write(network, file)
        return file

    def _new_file(self, name: str) -> Path:
        """A file in a new folder, as weights of 2 GiB and more lie beside it and are called after it."""
        folder = self._folder / name
        folder.mkdir()
        return folder / self._name
