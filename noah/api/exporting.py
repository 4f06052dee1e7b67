"""An export: what is asked for, checked before any work, and the artifact that is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from export.artifact.records import Int8Calibration, Precision, Purpose, Values
from export.convert.int8_options import DEFAULT_IMAGES, Int8Options
from export.convert.precision import DEFAULT_OPSETS, OLDEST_OPSETS
from export.formats import auto
from export.formats.format import Format
from export.formats.registry import FORMATS, find_format
from export.runtime.profile import parse_profile
from export.write.request import FastestRequest, Input, Request
from noah.errors import UsageError
from noah.progress import Listener
from noah.settings.layers import Layer

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from noah.runs.folder import Run


def plan_export(
    name: str,
    *,
    precision: Precision | None = None,
    calibration: Int8Calibration | None = None,
    calibration_images: int | None = None,
    exclude_last_block: bool = False,
    smooth: bool = True,
    mixed: bool = True,
    input: Input | None = None,  # noqa: A002  # the option's name
    input_size: int | None = None,
    output: Values | None = None,
    batch: str | int | None = None,
    target: str | None = None,
    opset: int | None = None,
    for_: Purpose | None = None,
    lose_at_most: float | None = None,
) -> Request:
    """Check the options of an export, which are those of `noah export`, and choose what nobody asked for.

    Raises:
        UsageError: If a value is none of its option's, or options contradict one another.
        MissingPackageError: If the package that builds engines is not installed.
    """
    _refuse_unknown(
        {
            "precision": (precision, get_args(Precision)),
            "calibration": (calibration, get_args(Int8Calibration)),
            "input": (input, get_args(Input)),
            "output": (output, get_args(Values)),
            "for_": (for_, get_args(Purpose)),
        }
    )
    _refuse_below_one({"calibration_images": calibration_images, "input_size": input_size})
    batch = str(batch) if isinstance(batch, int) else batch
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
        "--target": target,
        "--for": for_,
        "--lose-at-most": lose_at_most,
    }
    asked = [option for option, value in given.items() if value is not None]
    if name == auto.AUTO:
        _refuse_for_auto(asked)
        if input == "image":
            raise UsageError(
                "--format auto compares models that take pixels of one size.",
                "Leave out --input image, and export what it chooses again with it.",
            )
        return Request(
            format=name,
            int8=_int8_options("int8", calibration, calibration_images, exclude_last_block, smooth, mixed),
            input=input or "float",
            values=output or "logits",
            input_size=input_size,
            fastest=_plan_fastest(for_ or auto.PURPOSE, batch, lose_at_most),
        )
    format_ = find_format(name)
    _refuse(format_, asked)
    if input == "image" and format_.why_no_images:
        raise UsageError(
            f"--format {name} cannot take images of any size: {format_.why_no_images}.", "Use --input uint8."
        )
    chosen = precision or format_.default
    if opset is not None and opset < OLDEST_OPSETS[chosen]:
        raise UsageError(
            f"--opset {opset} is too old{' for bf16' if chosen == 'bf16' else ''}.",
            f"Use --opset {DEFAULT_OPSETS[chosen]}, or at least {OLDEST_OPSETS[chosen]}.",
        )
    int8 = _int8_options(chosen, calibration, calibration_images, exclude_last_block, smooth, mixed)
    profile = parse_profile(batch) if batch else format_.profile
    builder = format_.prepare(chosen, target)
    if chosen not in format_.precisions:
        raise UsageError(f"--format {name} has no {chosen}.", f"Use --precision {' or '.join(format_.precisions)}.")
    return Request(
        format=name,
        precision=chosen,
        precision_is_chosen=precision is None,
        int8=int8,
        input=input or "float",
        values=output or "logits",
        opset=opset,
        profile=profile,
        builder=builder,
        input_size=input_size,
    )


def export_run(
    current: Run, wanted: Request, listener: Listener, own: Sequence[Layer] = (), *, data: Path | None = None
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
    from noah.prepare.context import check_same_data
    from noah.prepare.prepare_run import prepare_run
    from noah.runs.run_subnet import chosen_subnet
    from noah.runs.stored_results import read_test

    chosen_subnet(current)
    read_test(current)  # the model card tells it: if it is damaged, better now than after all the work
    listener.say(f"run       {current.folder}")
    if wanted.fastest is not None:
        from export.checks.fastest import export_fastest

        materials = prepare_run(current, listener, own, data=data)
        check_same_data(current, materials)
        return export_fastest(current, materials, listener, wanted)
    format_ = find_format(wanted.format)
    if wanted.precision_is_chosen and format_.why_default:
        listener.say(f"precision {wanted.precision} ({format_.why_default})")
    materials = prepare_run(current, listener, own, data=data)
    check_same_data(current, materials)
    return format_.write(current, materials, listener, wanted)


def _refuse_unknown(given: Mapping[str, tuple[str | None, tuple[str, ...]]]) -> None:
    """Refuse values, each given with its choices, that only Python lets through: the command line knows the choices."""
    unknown = {name: (value, choices) for name, (value, choices) in given.items() if value not in (None, *choices)}
    if unknown:
        raise UsageError(
            " ".join(f"{name} is {value!r}, which is no choice." for name, (value, _) in unknown.items()),
            " ".join(f"{name} takes {', '.join(choices)}." for name, (_, choices) in unknown.items()),
        )


def _refuse_below_one(given: Mapping[str, int | None]) -> None:
    """Refuse numbers that the command line does not let through either."""
    wrong = {name: value for name, value in given.items() if value is not None and value < 1}
    if wrong:
        raise UsageError(
            " ".join(f"{name} is {value}, but must be at least 1." for name, value in wrong.items()), "Leave it out."
        )


def _plan_fastest(purpose: Purpose, batch: str | None, lose_at_most: float | None) -> FastestRequest:
    if batch is not None and not (batch.isascii() and batch.isdigit() and int(batch)):
        raise UsageError(
            f"--batch {batch} is not a number of images.",
            "With --format auto, write the one batch size that is to be fast: --batch 32",
        )
    points = auto.LOSE_AT_MOST if lose_at_most is None else lose_at_most
    if not 0 <= points <= 100:
        raise UsageError(
            f"--lose-at-most {points:g} is not between 0 and 100.", "It is in percentage points: --lose-at-most 0.5"
        )
    return FastestRequest(purpose, int(batch) if batch else auto.BATCHES[purpose], points)


def _refuse_for_auto(given: Sequence[str]) -> None:
    """Refuse the options that say what `--format auto` is to find out."""
    refused = [option for option in given if option not in auto.OPTIONS]
    if refused:
        raise UsageError(
            f"{refused[0]} has no effect with --format auto: every format and precision that runs here is tried.",
            f"Leave out {' and '.join(refused)}, or name a format.",
        )


def _refuse(format_: Format, given: Sequence[str]) -> None:
    """Refuse the options that the format does not take."""
    refused = [option for option in given if option not in format_.options]
    own = [option for option in refused if option in auto.OWN_OPTIONS]
    if own:
        raise UsageError(
            f"{own[0]} is for --format auto, not {format_.name}.",
            f"Leave out {' and '.join(own)}, or add --format auto.",
        )
    if refused == ["--target"]:
        takers = " or ".join(one.name for one in FORMATS.values() if "--target" in one.options)
        raise UsageError("--target is for engines.", f"Add --format {takers}, or leave it out.")
    if refused:
        why = f": {format_.why_fewer_options}" if format_.why_fewer_options else ""
        raise UsageError(
            f"{refused[0]} has no effect with --format {format_.name}{why}.", f"Leave out {' and '.join(refused)}."
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
    return Int8Options(calibration, DEFAULT_IMAGES if images is None else images, exclude_last_block, smooth, mixed)
