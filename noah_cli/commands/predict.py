"""`noah predict`: labels image files with an exported artifact; an ONNX file needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from noah.console.durations import format_seconds
from noah.errors import UsageError
from noah.progress import counted
from noah.settings.option_layers import column_names
from noah.settings.settings import ColumnSettings
from noah_cli.options.options import ColumnsOption
from noah_cli.terminal import console

_NAMED_FAILURES = 20
_NAMED_REMARKS = 5


def predict(
    context: typer.Context,
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an exported artifact, or a model in it, such as model.onnx.")
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Image files, folders (searched recursively), globs, tables with a column of paths, or - for a list "
            "of paths on standard input. Names that begin with a dash come after --."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write; if not given, CSV on standard output.", metavar="FILE")
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
) -> None:
    """Predict the classes of images, and write the path, label and probability of each.

    Files that cannot be read are listed at the end, and the others are predicted; the exit code is 1 if none was.
    """
    from export.predict.image_paths import STANDARD_INPUT
    from noah.api.predictor import REMARKS, UNKNOWN, Predictor
    from noah.data.formats import EXTRAS
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
    out = out and follow_latest(out)
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
        out,
        format=format,
        top_k=top_k,
        min_probability=min_probability,
        other=other,
        embeddings=embeddings and follow_latest(embeddings),
        columns=named,
        standard_input=sys.stdin.buffer if STANDARD_INPUT in images else None,
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
    if out:
        listener.say(f"written   {out}")
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
            "out": None if out is None else str(out),
            "embeddings": None if embeddings is None else str(embeddings),
            "remarks": [{"path": path, "remark": remark} for path, remark in summary.remarks],
            "failures": [{"path": str(path), "cause": cause} for path, cause in summary.failures],
        }
    )
    for remark, what in REMARKS.items():
        if paths_told := [path for path, told in summary.remarks if told == remark]:
            more = f" and {len(paths_told) - _NAMED_REMARKS:,} more" if len(paths_told) > _NAMED_REMARKS else ""
            listener.say(
                f"note      {counted(len(paths_told), 'files')} {what}: {', '.join(paths_told[:_NAMED_REMARKS])}{more}"
            )
    if summary.failures:
        listener.say(f"failed    {counted(len(summary.failures), 'files')} could not be predicted:")
        for path, cause in summary.failures[:_NAMED_FAILURES]:
            listener.say(f"          {path}: {cause}")
        if len(summary.failures) > _NAMED_FAILURES:
            listener.say(f"          and {len(summary.failures) - _NAMED_FAILURES:,} more")
        for extra in EXTRAS:
            if count := sum(cause == extra.cause for _, cause in summary.failures):
                listener.say(
                    f"          {counted(count, 'files')} in the format {extra.name}: "
                    f"pip install 'noah-prompt-search[{extra.extra}]' reads such files"
                )
        if strict or not summary.images:
            raise typer.Exit(1)
