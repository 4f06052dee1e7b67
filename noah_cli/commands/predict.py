"""`noah predict`: labels image files with an exported artifact; an ONNX file needs no torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from noah.errors import UsageError
from noah.progress import counted
from noah.settings.settings import ColumnSettings
from noah_cli.options.option_layers import column_names
from noah_cli.options.options import ColumnsOption
from noah_cli.terminal import console

_NAMED_FAILURES = 20
_NAMED_REMARKS = 5
_REMARKS = {
    "repaired": "without an end, of which what is there was predicted",
    "too bright": "with values beyond the bit depth of the training images, which became white",
}


def predict(
    context: typer.Context,
    artifact: Annotated[
        Path, typer.Argument(help="Folder of an exported artifact, or its model.onnx or model.engine.")
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
    top_k: Annotated[int, typer.Option(min=1, help="Labels per image.", metavar="K")] = 1,
    columns: ColumnsOption = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch.", metavar="N")] = 32,
    workers: Annotated[int, typer.Option(min=1, help="Threads that decode images.", metavar="N")] = 2,
    provider: Annotated[
        str | None,
        typer.Option(help="tensorrt, cuda or cpu; if not given, the first of these that runs.", metavar="NAME"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of the model.", metavar="N")] = None,
) -> None:
    """Predict the classes of images, and write the path, label and probability of each."""
    from export.predict.image_paths import STANDARD_INPUT, find_images
    from export.predict.predict import predict as predict_images
    from export.predict.prediction_table import open_writer
    from export.predict.predictor import load_predictor
    from noah.data.formats import EXTRAS
    from noah.files.latest import follow_latest

    listener = console.open_listener(context, error=True)
    named = ColumnSettings(**column_names(columns or []))
    if out is None and listener.output.json:
        raise UsageError(
            "--json and the predictions both need standard output.", "Write the predictions to a file: --out FILE"
        )
    out = out and follow_latest(out)
    predictor = load_predictor(follow_latest(artifact), provider=provider, threads=threads)
    paths = find_images(images, named, sys.stdin.buffer if STANDARD_INPUT in images else None)
    listener.say(f"runs on   {predictor.provider} ({predictor.provider_reason})")
    with (
        open_writer(out, format=format, top_k=top_k) as writer,
        listener.bar("predicting", len(paths), "images") as bar,
    ):
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(done)

        summary = predict_images(
            predictor, paths, writer, batch_size=batch_size, workers=workers, top_k=top_k, progress=advance
        )
    waiting, model = (
        share / summary.seconds if summary.seconds else 0.0
        for share in (summary.seconds_waiting, summary.seconds_model)
    )
    listener.say(
        f"predicted {counted(summary.images, 'images')} in {console.format_seconds(summary.seconds)}, "
        f"{summary.images_per_second:,.0f} a second ({model:.0%} of the time in the model, {waiting:.0%} waiting for "
        "images)"
    )
    if out:
        listener.say(f"written   {out}")
    listener.result(
        {
            "images": summary.images,
            "seconds": summary.seconds,
            "images_per_second": summary.images_per_second,
            "seconds_model": summary.seconds_model,
            "seconds_waiting": summary.seconds_waiting,
            "out": None if out is None else str(out),
            "remarks": [{"path": path, "remark": remark} for path, remark in summary.remarks],
            "failures": [{"path": str(path), "cause": cause} for path, cause in summary.failures],
        }
    )
    for remark, what in _REMARKS.items():
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
        raise typer.Exit(1)
