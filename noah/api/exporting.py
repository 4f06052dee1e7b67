"""An export: what is asked for, checked before any work, and the artifact that is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from export.artifact.records import Int8Calibration, Precision
from export.convert.int8_options import DEFAULT_IMAGES, Int8Options
from export.convert.precision import DEFAULT_OPSETS, OLDEST_OPSETS
from export.runtime.profile import ENGINE_PROFILE, ONNX_PROFILE, Profile, parse_profile
from export.runtime.tensorrt_package import Builder, choose_builder, choose_served, parse_targets, why_not_served
from noah.errors import UsageError
from noah.progress import Listener
from noah.settings.layers import Layer

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from noah.runs.folder import Run

Format = Literal["onnx", "trt", "triton", "safetensors", "timm"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to export; made by `plan_export`.

    Attributes:
        format: What kind of artifact.
        precision: The number format, as asked for or chosen.
        precision_is_chosen: Whether nobody asked for it.
        int8: How to quantize, if the precision is int8 or int8-dynamic.
        raw_pixels: Whether the input is raw uint8 pixels.
        values: What the outputs are.
        opset: ONNX operator set; None takes the precision's default.
        profile: Batch sizes of the parity check, and of an engine.
        builder: Builds an engine as well; None writes none.
        input_size: Side of the input in pixels; None takes that of the search.
    """

    format: Format
    precision: Precision
    precision_is_chosen: bool
    int8: Int8Options
    raw_pixels: bool
    values: Literal["logits", "probabilities"]
    opset: int | None
    profile: Profile
    builder: Builder | None
    input_size: int | None


def plan_export(
    format_: Format,
    *,
    precision: Precision | None = None,
    calibration: Int8Calibration | None = None,
    calibration_images: int | None = None,
    exclude_last_block: bool = False,
    smooth: bool = True,
    mixed: bool = True,
    input: Literal["float", "uint8"] | None = None,  # noqa: A002  # the option's name
    input_size: int | None = None,
    output: Literal["logits", "probabilities"] | None = None,
    batch: str | None = None,
    target: str | None = None,
    opset: int | None = None,
) -> Wanted:
    """Check the options of an export, which are those of `noah export`, and choose what nobody asked for.

    Raises:
        UsageError: If options contradict one another.
        MissingPackageError: If the package that builds engines is not installed.
    """
    if format_ == "safetensors" or format_ == "timm":
        given = {
            "--precision": precision,
            "--calibration": calibration,
            "--calibration-images": calibration_images,
            "--exclude-last-block": exclude_last_block or None,
            "--no-smooth": None if smooth else True,
            "--no-mixed": None if mixed else True,
            "--input": input,
            "--input-size": input_size,
            "--output": output,
            "--batch": batch,
            "--opset": opset,
        }
        _refuse(format_, [name for name, value in given.items() if value is not None])
    chosen = precision or ("fp16" if format_ == "trt" else "fp32")
    if opset is not None and opset < OLDEST_OPSETS[chosen]:
        raise UsageError(
            f"--opset {opset} is too old{' for bf16' if chosen == 'bf16' else ''}.",
            f"Use --opset {DEFAULT_OPSETS[chosen]}, or at least {OLDEST_OPSETS[chosen]}.",
        )
    if target is not None and format_ != "trt":
        raise UsageError("--target is for engines.", "Add --format trt, or leave it out.")
    int8 = _int8_options(chosen, calibration, calibration_images, exclude_last_block, smooth, mixed)
    profile = parse_profile(batch) if batch else ENGINE_PROFILE if format_ == "trt" else ONNX_PROFILE
    builder = None
    if format_ == "trt":
        builder = choose_builder(chosen, None if target is None else parse_targets(target))
    elif format_ == "triton":
        builder = choose_served(chosen)
    return Wanted(
        format_,
        chosen,
        precision is None,
        int8,
        input == "uint8",
        output or "logits",
        opset,
        profile,
        builder,
        input_size,
    )


def export_run(
    current: Run, wanted: Wanted, listener: Listener, own: Sequence[Layer] = (), *, data: Path | None = None
) -> Path:
    """Merge the retrained subnet into a plain network, write it, and check that its outputs are the same.

    Args:
        current: A run whose subnet has been retrained.
        wanted: What to write.
        listener: Receives the progress.
        own: Layers of the options for hardware; the precision is that of the reference, fp32.
        data: Where the run's images are now, if they have moved.

    Returns:
        The artifact's folder.

    Raises:
        NoahError: If anything is wrong with the run, or a check of the artifact fails.
    """
    # Imported here so that `plan_export` refuses at once what it refuses.
    from export.write.onnx_artifact import Request, export_artifact
    from export.write.torch_artifact import export_for_torch
    from noah.prepare.context import check_same_data
    from noah.prepare.prepare_run import prepare_run
    from noah.runs.run_subnet import chosen_subnet

    chosen_subnet(current)
    listener.say(f"run       {current.folder}")
    if wanted.precision_is_chosen and wanted.format == "trt":
        listener.say("precision fp16 (all targets support it; half the size of fp32, and closer to it than bf16)")
    materials = prepare_run(current, listener, own, data=data)
    check_same_data(current, materials)
    if wanted.format == "safetensors" or wanted.format == "timm":
        return export_for_torch(current, materials, listener, wanted.format)
    if wanted.format == "triton":
        reason = f"the ONNX file ({why_not_served(wanted.precision)})"
        listener.say(f"serves    {'the engine' if wanted.builder else reason}")
    request = Request(
        wanted.precision,
        wanted.int8,
        wanted.raw_pixels,
        wanted.values,
        wanted.opset,
        wanted.profile,
        wanted.builder,
        triton=wanted.format == "triton",
        input_size=wanted.input_size,
    )
    return export_artifact(current, materials, listener, request)


def _refuse(format_: str, given: list[str]) -> None:
    """Refuse options that only apply to ONNX files and engines if the format is for torch."""
    if given:
        raise UsageError(
            f"{given[0]} has no effect with --format {format_}: for torch, this is chosen when the network is used.",
            f"Leave out {' and '.join(given)}.",
        )


def _int8_options(
    precision: Precision,
    calibration: Int8Calibration | None,
    images: int | None,
    exclude_last_block: bool,
    smooth: bool,
    mixed: bool,
) -> Int8Options:
    """Collect the options of quantization, and refuse those that the precision does not use."""
    if precision != "int8" and (calibration is not None or images is not None):
        name = "--calibration" if calibration is not None else "--calibration-images"
        raise UsageError(f"{name} is for --precision int8, not {precision}.", "Leave it out, or add --precision int8.")
    given = {"--exclude-last-block": exclude_last_block, "--no-smooth": not smooth, "--no-mixed": not mixed}
    for name, is_given in given.items():
        if is_given and precision not in ("int8", "int8-dynamic"):
            raise UsageError(f"{name} is for --precision int8 and int8-dynamic, not {precision}.", "Leave it out.")
    return Int8Options(calibration, images or DEFAULT_IMAGES, exclude_last_block, smooth, mixed)
