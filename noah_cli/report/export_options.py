"""Gives the options of an export, as far as the manifest of its artifact tells them."""

from __future__ import annotations

import re

from export.artifact.manifest import Manifest
from export.artifact.records import QuantizationRecord
from export.convert.int8_options import DEFAULT_IMAGES
from export.convert.precision import DEFAULT_OPSETS
from export.formats.registry import format_of
from export.runtime.profile import Profile

_RANGES = re.compile(r"(?P<calibration>[a-z]+) over (?P<images>[0-9,]+) training images ")
"""How `QuantizationRecord.ranges` begins for int8."""
_WAY = re.compile(r"(?P<smoothing>smoothed|not smoothed)(?:, (?P<calibration>[a-z]+))?(?:, .+)?")
"""What `TriedRecord.how` is like: smoothed, minmax, block 3 in float32."""
_FIRST_TRIED = ["smoothed, minmax"]
"""What int8 has tried if it stopped at the first way, which is the same whether or not minmax was asked for."""


def export_options(manifest: Manifest) -> tuple[list[str], list[str]]:
    """Give the options that an artifact was exported with, and those of which its manifest does not tell.

    Format and precision are always given; other options are not if they are at their defaults, unless these depend on
    the network or the images. `--no-mixed` is not told apart: without blocks in float32 it changes nothing.
    """
    words, unknown = [f"--format {manifest.format}"], list[str]()
    options = format_of(manifest).options
    if "--precision" in options:
        words.append(f"--precision {manifest.precision}")
        if manifest.quantization is not None:
            more, unknown = _of_8_bits(manifest.quantization, calibrated=manifest.precision == "int8")
            words += more
        if manifest.input.values != "normalized":
            words.append(f"--input {'image' if manifest.input.values == 'image' else 'uint8'}")
        if manifest.output.values == "probabilities":
            words.append("--output probabilities")
        if manifest.resized is not None:
            words.append(f"--input-size {manifest.backbone.image_size[0]}")
    if "--batch" in options:
        words += _batch(manifest)
    if "--target" in options and manifest.engine is not None:
        words.append(f"--target {','.join(manifest.engine.targets)}")
    if "--opset" in options and manifest.opset not in (None, DEFAULT_OPSETS[manifest.precision]):
        words.append(f"--opset {manifest.opset}")
    return words, unknown


def _batch(manifest: Manifest) -> list[str]:
    default = format_of(manifest).profile
    if manifest.engine is not None:
        told = manifest.engine.profile
        profile = Profile(told.minimum, told.optimum, told.maximum)
        return [f"--batch {profile}"] if profile != default else []
    sizes = tuple(sorted({batch.batch for batch in manifest.parity[0].batches}))
    if sizes == default.sizes:
        return []
    # Of two sizes, either may have been the usual one: what is checked is the same.
    return [f"--batch {Profile(sizes[0], sizes[(len(sizes) - 1) // 2], sizes[-1])}"]


def _of_8_bits(record: QuantizationRecord, *, calibrated: bool) -> tuple[list[str], list[str]]:
    """Give the options of int8, or of int8-dynamic, which is not calibrated, and those that are not known."""
    words, unknown = [], []
    tried = [one.how for one in record.tried]
    ways = [way for how in tried if (way := _WAY.fullmatch(how))]
    if calibrated:
        ranges = _RANGES.match(record.ranges)
        methods = {way["calibration"] for way in ways} or {ranges and ranges["calibration"]}
        if ranges is None:
            unknown += ["--calibration", "--calibration-images"]
        else:
            if len(methods) == 1 and tried != _FIRST_TRIED:
                words.append(f"--calibration {ranges['calibration']}")
            if (images := int(ranges["images"].replace(",", ""))) != DEFAULT_IMAGES:
                words.append(f"--calibration-images {images}")
    if "in the last block" in record.kept:
        words.append("--exclude-last-block")
    if not record.smoothed and all(way["smoothing"] == "not smoothed" for way in ways):
        # int8 begins with smoothing, and int8-dynamic tries it second, unless the first way is good enough.
        if len(ways) > (0 if calibrated else 1):
            words.append("--no-smooth")
        else:
            unknown.append("--no-smooth")
    return words, unknown
