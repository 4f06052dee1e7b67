"""`noah predict`: labels image files with an exported artifact; an ONNX file needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from noah.console.durations import format_seconds
from noah.errors import UsageError
from noah.progress import counted, first_of
from noah.settings.option_layers import column_names
from noah.settings.settings import ColumnSettings
from noah_cli.options.options import ColumnsOption, RayOption
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports Pillow and numpy
    from noah.data.decode import Remark

_NAMED_FAILURES = 20
_NAMED_REMARKS = 5
_NAMED_SLOW = 5


def predict(
    context: typer.Context,
    artifact: Annotated[
        Path,
        typer.Argument(
            help="Folder of an exported artifact, or a model in it, such as model.onnx.", metavar="ARTIFACT"
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders (searched recursively), globs, tables with a column of paths, or - for a list "
            "of paths on standard input; with --ray also .tar archives and Parquet tables of images, and all of these "
            "at addresses such as s3://BUCKET/FOLDER. Names that begin with a dash come after --.",
            metavar="IMAGES",
        ),
    ],
    out: Annotated[
        str | None,
        typer.Option(
            help="File to write; if not given, CSV on standard output. With --ray: the folder or address for Parquet "
            "files, which is gone on with where it was left.",
            metavar="FILE",
        ),
    ] = None,
    format: Annotated[  # noqa: A002  # the option's name
        Literal["csv", "jsonl", "parquet"] | None,
        typer.Option("--format", help="By the suffix of --out if not given; parquet needs the extra of that name."),
    ] = None,
    top_k: Annotated[int, typer.Option("--top", "--top-k", min=1, help="Labels per image.", metavar="K")] = 1,
    min_probability: Annotated[
        float | None,
        typer.Option(
            "--min-probability",
            min=0,
            max=1,
            help="Images whose likeliest class is less probable than this are labeled as --other says.",
            metavar="P",
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--other",
            help="Label of images that no class is likely enough for; if not given, unknown.",
            metavar="LABEL",
        ),
    ] = None,
    embeddings: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            help="Also write what the network computes before its head, as a .npy file: float32, a row for each image "
            "in the order of the predictions.",
            metavar="FILE",
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if any file could not be predicted.")] = False,
    columns: ColumnsOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.", metavar="N")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode images.", metavar="N")] = 2,
    provider: Annotated[
        str | None,
        typer.Option(
            help="tensorrt, cuda or cpu; if not given, the first of these that runs. openvino runs ONNX files by that "
            "package.",
            metavar="NAME",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.", metavar="N")] = None,
    ray: RayOption = None,
    shard_size: Annotated[
        int | None,
        typer.Option(
            "--shard-size",
            min=1,
            help="With --ray: images in each Parquet file; an archive has a file of its own. If not given, 1000.",
            metavar="N",
        ),
    ] = None,
) -> None:
    """Predict the classes of images, and write the path, label and probability of each.

    Files that cannot be read are listed at the end, and the others are predicted; the exit code is 1 if none was.
    """
    from export.predict.image_paths import STANDARD_INPUT
    from noah.api.predictor import UNKNOWN, Predictor
    from noah.files.latest import follow_latest

    listener = console.open_listener(context, error=True)
    named = ColumnSettings(**column_names(columns or []))
    if out is None and listener.output.json:
        raise UsageError(
            "--json and the predictions both need standard output.", "Write the predictions to a file: --out FILE"
        )
    if other is not None and min_probability is None:
        raise UsageError(
            "--other labels images below --min-probability, which is missing.", "Add --min-probability 0.8, say."
        )
    other = UNKNOWN if other is None else other
    standard_input = sys.stdin.buffer if STANDARD_INPUT in images else None
    if ray is not None:
        _refuse_with_ray(out, format, embeddings)
        _predict_on_cluster(
            listener,
            artifact,
            images,
            str(out),
            ray,
            strict=strict,
            top_k=top_k,
            min_probability=min_probability,
            other=other,
            columns=named,
            standard_input=standard_input,
            shard_size=shard_size,
            batch_size=batch_size,
            workers=workers,
            provider=provider,
            threads=threads,
        )
        return
    if shard_size is not None:
        raise UsageError("--shard-size divides what --ray writes.", "Add --ray, or leave it out.")
    file = None if out is None else follow_latest(Path(out))
    embeddings = None if embeddings is None else follow_latest(embeddings)
    predictor = Predictor(
        artifact,
        provider=provider,
        threads=threads,
        batch_size=batch_size,
        workers=workers,
        embeddings=embeddings is not None,
    )
    summary = predictor.write(
        images,
        file,
        format=format,
        top_k=top_k,
        min_probability=min_probability,
        other=other,
        embeddings=embeddings,
        columns=named,
        standard_input=standard_input,
        listener=listener,
    )
    waiting, model = (
        share / summary.seconds if summary.seconds else 0.0
        for share in (summary.seconds_waiting, summary.seconds_model)
    )
    listener.say(
        f"predicted {counted(summary.images, 'images')} in {format_seconds(summary.seconds)}, "
        f"{summary.images_per_second:,.0f} a second ({model:.0%} of the time in the model, {waiting:.0%} waiting for "
        "images)"
    )
    if min_probability is not None:
        listener.say(
            f"unsure    {counted(summary.unsure, 'images')} labeled {other}: no class has a probability of "
            f"{min_probability:g}"
        )
    if file:
        listener.say(f"written   {file}")
    if embeddings:
        listener.say(f"written   {embeddings}, a row for each of the {counted(summary.images, 'images')}")
    listener.result(
        {
            "images": summary.images,
            "unsure": summary.unsure,
            "seconds": summary.seconds,
            "images_per_second": summary.images_per_second,
            "seconds_model": summary.seconds_model,
            "seconds_waiting": summary.seconds_waiting,
            "out": None if file is None else str(file),
            "embeddings": None if embeddings is None else str(embeddings),
            "remarks": [{"path": path, "remark": remark} for path, remark in summary.remarks],
            "failures": [{"path": str(path), "cause": cause} for path, cause in summary.failures],
        }
    )
    _tell_remarks(listener, summary.remarks)
    if summary.failures:
        _tell_failures(listener, summary.failures)
        if strict or not summary.images:
            raise typer.Exit(1)


def _refuse_with_ray(out: str | None, format: str | None, embeddings: Path | None) -> None:  # noqa: A002  # as the option
    """Refuse options that mean nothing where several machines write.

    Raises:
        UsageError: If one of them was given, or --out was not.
    """
    if out is None:
        raise UsageError("--ray needs a folder to write into.", "Name it: --out labels, or --out s3://BUCKET/FOLDER")
    if format not in (None, "parquet"):
        raise UsageError(f"--ray writes Parquet, and not {format}.", "Leave --format out.")
    if embeddings is not None:
        raise UsageError("--embeddings goes into a single file, which --ray does not write.", "Leave one of them out.")


def _predict_on_cluster(
    listener: console.ConsoleListener,
    artifact: Path,
    images: list[str],
    out: str,
    where: str,
    *,
    strict: bool,
    top_k: int,
    min_probability: float | None,
    other: str,
    columns: ColumnSettings,
    standard_input: BinaryIO | None,
    shard_size: int | None,
    batch_size: int,
    workers: int,
    provider: str | None,
    threads: int | None,
) -> None:
    """Do with several processes or machines what the command does, and print it."""
    from export.predict.parts import SHARD_SIZE
    from export.predict.predict import Threshold
    from export.predict.predictions_folder import FAILURES_FILE
    from noah.api.cluster_predictions import predict_on_cluster
    from noah.files.addresses import is_address
    from noah.files.latest import follow_latest

    out = out if is_address(out) else str(follow_latest(Path(out)))
    with console.interruptible("the same command; finished parts are not repeated"):
        summary = predict_on_cluster(
            follow_latest(artifact),
            images,
            out,
            listener,
            where=where,
            top_k=top_k,
            threshold=None if min_probability is None else Threshold(min_probability, other),
            columns=columns,
            standard_input=standard_input,
            shard_size=shard_size or SHARD_SIZE,
            batch_size=batch_size,
            decoders=workers,
            provider=provider,
            threads=threads,
        )
    listener.say(
        f"predicted {counted(summary.images_now, 'images')} in {format_seconds(summary.seconds)}, "
        f"{summary.images_per_second:,.0f} a second; {counted(summary.images, 'images')} in all"
    )
    if len(summary.machines) > 1:
        for machine, rate in summary.machines.items():
            listener.say(f"machine   {machine}: {rate:,.0f} images a second and worker")
    for slow in summary.slow[:_NAMED_SLOW]:
        listener.say(
            f"slow      {slow.part} on {slow.machine}: {format_seconds(slow.seconds)}, {slow.times:.1f} times as long "
            "an image as the middle one of all parts"
        )
    if len(summary.slow) > _NAMED_SLOW:
        listener.say(f"          and {len(summary.slow) - _NAMED_SLOW:,} more parts")
    if min_probability is not None:
        listener.say(
            f"unsure    {counted(summary.unsure, 'images')} labeled {other}: no class has a probability of "
            f"{min_probability:g}"
        )
    listener.say(f"written   {out}, {counted(summary.parts - len(summary.parts_failed), 'Parquet files')}")
    listener.result(
        {
            "images": summary.images,
            "images_now": summary.images_now,
            "unsure": summary.unsure,
            "seconds": summary.seconds,
            "images_per_second": summary.images_per_second,
            "machines": summary.machines,
            "out": out,
            "parts": summary.parts,
            "parts_before": summary.parts_before,
            "parts_failed": [{"part": part, "cause": cause} for part, cause in summary.parts_failed],
            "retries": summary.retries,
            "slow": [asdict(slow) for slow in summary.slow],
            "remarks": [{"path": path, "remark": remark} for path, remark in summary.remarks],
            "failures": [{"path": path, "cause": cause} for path, cause in summary.failures],
        }
    )
    _tell_remarks(listener, summary.remarks)
    if summary.failures:
        _tell_failures(listener, summary.failures)
        listener.say(f"          all of them are in {out.rstrip('/')}/{FAILURES_FILE}")
    if summary.parts_failed:
        listener.say(f"failed    {counted(len(summary.parts_failed), 'parts')}, which the same command tries again:")
        for part, cause in summary.parts_failed[:_NAMED_FAILURES]:
            listener.say(f"          {part}: {cause}")
        if len(summary.parts_failed) > _NAMED_FAILURES:
            listener.say(f"          and {len(summary.parts_failed) - _NAMED_FAILURES:,} more")
    if summary.parts_failed or (summary.failures and (strict or not summary.images)):
        raise typer.Exit(1)


def _tell_remarks(listener: console.ConsoleListener, remarks: Sequence[tuple[str, Remark]]) -> None:
    """Print what was done to some images when they were decoded."""
    from noah.api.predictor import REMARKS

    for remark, what in REMARKS.items():
        if paths_told := [path for path, told in remarks if told == remark]:
            named = first_of(paths_told, _NAMED_REMARKS)
            listener.say(f"note      {counted(len(paths_told), 'files')} {what}: {named}")


def _tell_failures(listener: console.ConsoleListener, failures: Sequence[tuple[str, str]]) -> None:
    """Print the images that could not be predicted, or the first of them."""
    from noah.data.formats import EXTRAS

    listener.say(f"failed    {counted(len(failures), 'files')} could not be predicted:")
    for path, cause in failures[:_NAMED_FAILURES]:
        listener.say(f"          {path}: {cause}")
    if len(failures) > _NAMED_FAILURES:
        listener.say(f"          and {len(failures) - _NAMED_FAILURES:,} more")
    for extra in EXTRAS:
        if count := sum(cause == extra.cause for _, cause in failures):
            listener.say(
                f"          {counted(count, 'files')} in the format {extra.name}: "
                f"pip install 'noah-prompt-search[{extra.extra}]' reads such files"
            )
