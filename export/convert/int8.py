"""Makes an 8-bit ONNX file of a network, and accepts it only if it is nearly as accurate.

Ways to quantize are tried until one costs so little that it is no concern: ranges by each method of calibration, with
outliers of activations moved into the weights and without. Of those that pass the check of accuracy, the one is taken
whose outputs are closest to float32's. If none passes, the closest goes on, with the blocks that lose most left in
float32, one more each time.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from export.artifact.records import FloatPrecision, Int8Precision, QuantizationRecord, TriedRecord
from export.convert.accuracy_loss import POINTS_ALLOWED, AccuracyLoss, Int8Gate
from export.convert.int8_options import CALIBRATIONS, Int8Options
from export.convert.int8_writer import Int8Writer, Way, WriteFloat32, named_blocks
from export.convert.mixed_precision import worst_blocks
from export.convert.onnx_products import Products
from export.convert.quantize import SAFE_BITS, usable_weight_bits
from noah.errors import ParityError
from noah.model.merge import MergedViT
from noah.prepare.context import Materials
from noah.prepare.held_out import calibration_images, gate_images
from noah.progress import Listener


@dataclass(frozen=True)
class Tried:
    """A file, how it was quantized, and what that costs."""

    way: Way
    file: Path
    loss: AccuracyLoss


def quantize(
    network: MergedViT,
    write: WriteFloat32,
    file: Path,
    precision: Int8Precision,
    options: Int8Options,
    materials: Materials,
    listener: Listener,
    *,
    raw_pixels: bool,
    symmetric: bool,
) -> QuantizationRecord:
    """Write a network in 8 bits, and measure what that costs.

    Args:
        network: The merged network, on the CPU; it stays as it is.
        write: Writes it, or a network like it, in float32.
        file: The 8-bit file to write.
        precision: int8 for calibrated scales, int8-dynamic for scales found in each batch.
        options: What may be tried, and which products to leave out.
        materials: The run's training images calibrate, its images for gates measure.
        listener: Prints each step.
        raw_pixels: Whether the network takes raw pixels; else normalized ones.
        symmetric: Whether activations are signed, as TensorRT needs them; see `write_int8`.

    Raises:
        ParityError: If more than `POINTS_ALLOWED` points of accuracy are lost whatever is tried.
        ExportError: If it cannot be quantized.
    """
    with tempfile.TemporaryDirectory(prefix="noah-", dir=file.parent) as folder:
        writer = Int8Writer(
            network,
            write,
            Path(folder),
            file.name,
            precision,
            options,
            materials,
            listener,
            raw_pixels=raw_pixels,
            symmetric=symmetric,
        )
        products = writer.products()
        listener.say(f"quantize  {len(products.names)} products; others stay in float32: {_told(products)}")
        bits = usable_weight_bits()
        if bits == SAFE_BITS:
            listener.say(
                "weights   7 bits (this processor lacks VNNI and adds 8-bit products in 16 bits, where they overflow)"
            )
        split, images = gate_images(materials)
        gate = Int8Gate(
            writer.float32,
            materials.pixels(split, "gate", listener),
            images,
            materials.evaluation_batch_size,
            listener,
            raw_pixels=raw_pixels,
            threads=writer.threads,
        )

        def attempt(way: Way) -> Tried:
            quantized = writer.quantized(way)
            tried.append(Tried(way, quantized, gate.measure(quantized)))
            listener.say(_line(tried[-1]))
            return tried[-1]

        tried: list[Tried] = []
        chosen = first_choice(attempt, precision, options)
        if not chosen.loss.is_allowed and options.mixed:
            chosen = _mixed(attempt, chosen, writer, listener, raw_pixels=raw_pixels)
        if not chosen.loss.is_allowed:
            raise _refusal(chosen, precision, options, len(calibration_images(materials)))
        if len(tried) > 1:
            listener.say(f"takes     {chosen.way} (of those that pass, the closest to float32)")
        for part in chosen.file.parent.iterdir():  # weights may lie beside the graph
            shutil.move(part, file.with_name(part.name))
        products = writer.products(chosen.way.float_blocks)
        return QuantizationRecord(
            products=len(products.names),
            kept=products.kept,
            weight_bits=bits,
            ranges=writer.ranges_of(chosen.way),
            images=chosen.loss.images,
            total=chosen.loss.total,
            correct=chosen.loss.correct,
            correct_in_float32=chosen.loss.correct_in_float32,
            top1_agreement=chosen.loss.agreeing / chosen.loss.total,
            smoothed=writer.smoothed_places if chosen.way.smoothed else {},
            float_blocks=tuple(block + 1 for block in sorted(chosen.way.float_blocks)),
            tried=tuple(map(_record, tried)),
        )


def ways_to_try(precision: Int8Precision, options: Int8Options) -> list[Way]:
    """The ways to quantize all blocks, the cheapest first within those that come closest."""
    smoothed = [True, False] if options.smooth else [False]
    if precision == "int8-dynamic":
        return [Way(each, None) for each in reversed(smoothed)]  # without smoothing, no image is needed
    first, *others = [options.calibration] if options.calibration else CALIBRATIONS
    return [*(Way(each, first) for each in smoothed), *(Way(options.smooth, each) for each in others)]


def first_choice(attempt: Callable[[Way], Tried], precision: Int8Precision, options: Int8Options) -> Tried:
    """Quantize all blocks, until what is lost is no concern, and choose among those that were tried."""
    tried: list[Tried] = []
    for way in ways_to_try(precision, options):
        tried.append(attempt(way))
        if tried[-1].loss.is_no_concern:
            return tried[-1]
    return min([each for each in tried if each.loss.is_allowed] or tried, key=lambda each: each.loss.divergence)


def _mixed(
    attempt: Callable[[Way], Tried], chosen: Tried, writer: Int8Writer, listener: Listener, *, raw_pixels: bool
) -> Tried:
    """Leave one more of the worst blocks in float32 until the file is accepted or too few blocks are left."""
    way, best = chosen.way, chosen
    for block in worst_blocks(writer, way, listener, raw_pixels=raw_pixels):
        way = replace(way, float_blocks=(*way.float_blocks, block))
        tried = attempt(way)
        if tried.loss.is_allowed:
            return tried
        best = min(best, tried, key=lambda each: each.loss.points)
    return best


def _line(tried: Tried) -> str:
    """The line that tells what a way costs."""
    loss = tried.loss
    return (
        f"accuracy  {loss.correct / loss.total:.2%} in 8 bits and {loss.correct_in_float32 / loss.total:.2%} in "
        f"float32 of {loss.images}, {loss.agreeing / loss.total:.1%} with the same first class, "
        f"divergence {loss.divergence:.2g} ({tried.way})"
    )


def _record(tried: Tried) -> TriedRecord:
    return TriedRecord(
        how=str(tried.way),
        correct=tried.loss.correct,
        top1_agreement=tried.loss.agreeing / tried.loss.total,
        divergence=tried.loss.divergence,
    )


def _told(products: Products) -> str:
    return ", ".join(f"{count} {why}" for why, count in products.kept.items()) or "none"


def _refusal(tried: Tried, precision: Int8Precision, options: Int8Options, available: int) -> ParityError:
    """Make the error that says how much is lost and what to try."""
    loss = tried.loss
    mixed = tried.way.float_blocks
    advice = what_to_try(precision, options, available, was_mixed=options.mixed, instead="fp16")
    even = f", even with {named_blocks(mixed)} in float32" if mixed else ""
    return ParityError(
        f"The exported model fails the accuracy check: {precision} loses {loss.points:.1f} points on {loss.images} "
        f"({loss.correct:,} right instead of {loss.correct_in_float32:,}){even}, but only {POINTS_ALLOWED} is allowed.",
        f"Nothing was written. Try {advice}.",
    )


def what_to_try(
    precision: Int8Precision, options: Int8Options, available: int, *, was_mixed: bool, instead: FloatPrecision
) -> str:
    """Say which options may bring 8 bits closer to float32, none of which was given yet.

    Args:
        precision: The precision that was asked for.
        options: How it was to be quantized.
        available: Number of training images that could calibrate.
        was_mixed: Whether leaving blocks in float32 was tried because of this very loss.
        instead: The precision to name if nothing helps.
    """
    left_out = [
        name
        for name, given in (
            ("--no-smooth", not options.smooth),
            ("--no-mixed", not options.mixed),
            ("--calibration", options.calibration is not None),
        )
        if given
    ]
    ways = [f"without {name}" for name in left_out]
    if not was_mixed and not options.exclude_last_block:
        ways.append("--exclude-last-block")
    if precision == "int8" and available > options.images:
        ways.append(f"--calibration-images {2 * options.images}")
    *first, last = *ways, f"--precision {instead}"
    return f"{', '.join(first)} or {last}" if first else last
