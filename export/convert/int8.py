"""Makes an 8-bit ONNX file from a float32 one, and accepts it only if it is nearly as accurate."""

from __future__ import annotations

from pathlib import Path

import onnx

from export.artifact.records import Int8Precision, QuantizationRecord
from export.convert.accuracy_loss import POINTS_ALLOWED, AccuracyLoss, measure_accuracy_loss
from export.convert.int8_images import CalibrationBatches, calibration_pixels
from export.convert.int8_options import Int8Options
from export.convert.onnx_products import Products, choose_products
from export.convert.quantize import SAFE_BITS, usable_weight_bits, write_int8, write_int8_dynamic
from noah.errors import ParityError
from noah.prepare.context import Materials
from noah.prepare.held_out import calibration_images, trained_on
from noah.progress import Listener


def quantize(
    in_float32: Path,
    file: Path,
    precision: Int8Precision,
    options: Int8Options,
    materials: Materials,
    listener: Listener,
    *,
    raw_pixels: bool,
    symmetric: bool,
) -> QuantizationRecord:
    """Write a float32 file in 8 bits, and measure what that costs.

    Args:
        in_float32: The file that the exporter wrote.
        file: The 8-bit file to write.
        precision: int8 for calibrated scales, int8-dynamic for scales found in each batch.
        options: Calibration method and number of images, and which products to leave out.
        materials: The run's training images calibrate, its images for gates measure.
        listener: Prints each step.
        raw_pixels: Whether the network takes raw pixels; else normalized ones.
        symmetric: Whether activations are signed, as TensorRT needs them; see `write_int8`.

    Raises:
        ParityError: If more than `POINTS_ALLOWED` points of accuracy are lost.
        ExportError: If it cannot be quantized.
    """
    graph = onnx.load(str(in_float32), load_external_data=False)
    products = choose_products(graph, gemm=precision == "int8", exclude_last_block=options.exclude_last_block)
    listener.say(f"quantize  {len(products.names)} products; others stay in float32: {_told(products)}")
    bits = usable_weight_bits()
    if bits == SAFE_BITS:
        listener.say(
            "weights   7 bits (this processor lacks VNNI and adds 8-bit products in 16 bits, where they overflow)"
        )
    if precision == "int8":
        ranges = _write_calibrated(in_float32, file, products, options, materials, listener, raw_pixels, symmetric)
    else:
        write_int8_dynamic(in_float32, file, products)
        ranges = "each batch when it is run"
    loss = measure_accuracy_loss(file, in_float32, materials, listener, raw_pixels=raw_pixels)
    listener.say(
        f"accuracy  {loss.correct / loss.total:.2%} in 8 bits and {loss.correct_in_float32 / loss.total:.2%} in "
        f"float32 of {loss.images}, {loss.agreeing / loss.total:.1%} with the same first class"
    )
    if not loss.is_allowed:
        raise _refusal(loss, precision, options, len(calibration_images(materials)))
    return QuantizationRecord(
        products=len(products.names),
        kept=products.kept,
        weight_bits=bits,
        ranges=ranges,
        images=loss.images,
        total=loss.total,
        correct=loss.correct,
        correct_in_float32=loss.correct_in_float32,
        top1_agreement=loss.agreeing / loss.total,
    )


def _write_calibrated(
    in_float32: Path,
    file: Path,
    products: Products,
    options: Int8Options,
    materials: Materials,
    listener: Listener,
    raw_pixels: bool,
    symmetric: bool,
) -> str:
    """Write the file with calibrated ranges, and say where these come from."""
    pixels = calibration_pixels(materials, options.images, listener)
    ranges = f"{options.calibration} over {len(pixels):,} training images of {materials.dataset.name}"
    ranges += trained_on(pixels.split, materials)
    listener.say(f"calibrate {ranges}{' (all there are)' if len(pixels) < options.images else ''}")
    with listener.bar("calibrating", len(pixels), "images") as bar:
        batches = CalibrationBatches(pixels, raw_pixels=raw_pixels, bar=bar)
        write_int8(in_float32, file, products, batches, calibration=options.calibration, symmetric=symmetric)
    return ranges


def _told(products: Products) -> str:
    return ", ".join(f"{count} {why}" for why, count in products.kept.items()) or "none"


def _refusal(loss: AccuracyLoss, precision: Int8Precision, options: Int8Options, available: int) -> ParityError:
    """Make the error that says how much is lost and what to try."""
    ways = [] if options.exclude_last_block else ["--exclude-last-block"]
    if precision == "int8":
        if available > options.images:
            ways.append(f"--calibration-images {2 * options.images}")
        ways.append("--calibration percentile" if options.calibration == "minmax" else "--calibration minmax")
    *first, last = *ways, "--precision fp16"
    tried = f"{', '.join(first)} or {last}" if first else last
    return ParityError(
        f"The exported model fails the accuracy check: {precision} loses {loss.points:.1f} points on {loss.images} "
        f"({loss.correct:,} right instead of {loss.correct_in_float32:,}), but only {POINTS_ALLOWED} is allowed.",
        f"Nothing was written. Try {tried}.",
    )
