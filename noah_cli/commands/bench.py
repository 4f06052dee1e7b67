"""`noah bench`: times artifacts beside the plain backbone or another artifact."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich import box
from rich.table import Table

from noah.errors import UsageError
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports onnxruntime
    from export.artifact.records import Precision
    from export.checks.bench import Measurement
    from export.predict.predictor import Predictor

_BACKBONE = "backbone"


def bench(
    context: typer.Context,
    artifacts: Annotated[
        list[Path],
        typer.Argument(help="Folders of exported artifacts, or their models, such as model.onnx.", metavar="ARTIFACTS"),
    ],
    against: Annotated[
        str | None,
        typer.Option(
            help="Compare with the plain backbone, exported in the same way (backbone, backbone:fp16 or "
            "backbone:int8-dynamic), or with another artifact.",
            metavar="WHAT",
        ),
    ] = None,
    batch: Annotated[str, typer.Option(help="Batch sizes to time.", metavar="LIST")] = "1,8,32",
    seconds: Annotated[float, typer.Option(min=0, help="Time for each model and batch size.", metavar="S")] = 5.0,
    out: Annotated[Path | None, typer.Option(help="File to write all figures to, as JSON.", metavar="FILE")] = None,
    provider: Annotated[
        str | None,
        typer.Option(help="tensorrt, cuda or cpu; if not given, the first of these that runs.", metavar="NAME"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of each model.", metavar="N")] = None,
) -> None:
    """Measure the latency and throughput of artifacts on random images, their load time and their size."""
    from export.checks.bench import measure
    from export.formats.load import load_predictor
    from noah.files.atomic import atomic_file
    from noah.files.latest import follow_latest

    batches = _batches(batch)
    if any(str(path).partition(":")[0] == _BACKBONE and not path.exists() for path in artifacts):
        raise UsageError(
            "The plain backbone is not an artifact.", "Compare with it: noah bench ARTIFACT --against backbone"
        )
    file = None if out is None else follow_latest(out)
    if file is not None:
        if file.is_dir():
            raise UsageError(f"{file} is a folder.", "Name a file: --out bench.json")
        file.resolve().parent.mkdir(parents=True, exist_ok=True)
    listener = console.open_listener(context)
    predictors = [load_predictor(follow_latest(path), provider=provider, threads=threads) for path in artifacts]
    reference = _reference(against, provider, threads)
    for name, reason in dict.fromkeys((predictor.provider, predictor.provider_reason) for predictor in predictors):
        listener.say(f"runs on   {name} ({reason})")
    found = measure(
        predictors,
        reference,
        batches=batches,
        seconds=seconds,
        provider=provider,
        threads=threads,
        listener=listener,
    )
    _print(listener, found, batches)
    if file is not None:
        with atomic_file(file.resolve()) as temporary:
            temporary.write_text(json.dumps(_to_json(found), indent=1) + "\n", encoding="utf-8")
        listener.say(f"written   {file}")
    listener.result(_to_json(found))


def _batches(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageError(f"--batch {text} is not a list of batch sizes.", "Write whole numbers: --batch 1,8,32")
    return tuple(dict.fromkeys(map(int, parts)))


def _reference(against: str | None, provider: str | None, threads: int | None) -> Predictor | Precision | None:
    """Open the other artifact, or give the precision of the plain backbone."""
    from export.artifact.records import Precision
    from export.formats.load import load_predictor
    from noah.files.latest import follow_latest

    if against is None:
        return None
    name, _, precision = against.partition(":")
    if name != _BACKBONE:
        return load_predictor(follow_latest(Path(against)), provider=provider, threads=threads)
    for known in get_args(Precision):
        if known == (precision or "fp32"):
            return known  # type: ignore[no-any-return]  # it is one of Precision's own
    raise UsageError(
        f"--against {against}: there is no such precision.", "Write backbone, backbone:fp16 or an artifact's path."
    )


def _print(listener: console.ConsoleListener, found: Sequence[Measurement], batches: Sequence[int]) -> None:
    compared = any(one.ratios for one in found)
    columns = ["", "batch", *(["ratio", "quartiles"] if compared else []), "p50", "p90", "p99", "images/s"]
    lines = []
    for number in range(len(batches)):
        for one in found:
            timing = one.timings[number]
            ratio: list[str] = []
            if compared and one.ratios:
                part = one.ratios[number]
                ratio = [f"{part.median:.2f}x", f"{part.low:.2f} {part.high:.2f}"]
            elif compared:
                ratio = ["1", ""]
            times = [f"{1000 * value:.1f}" for value in (timing.p50, timing.p90, timing.p99)]
            lines.append([one.contender.name, str(timing.batch), *ratio, *times, f"{timing.throughput:,.0f}"])
    _draw(listener, columns, lines)
    if compared:
        names = " or ".join(dict.fromkeys(one.contender.reference for one in found if one.contender.reference))
        listener.say(f"ratio     how many times as fast as {names}: median of rounds in which both ran in turn")
    fewest = min(timing.runs for one in found for timing in one.timings)
    listener.say(f"times     in milliseconds per batch, from at least {fewest} runs; only the model is timed")
    _draw(
        listener,
        ["", "load, ms", "file, MiB"],
        [
            [
                one.contender.name,
                f"{1000 * (one.contender.load_seconds or 0):,.0f}",
                f"{one.contender.bytes / 2**20:.1f}",
            ]
            for one in found
        ],
    )


def _draw(listener: console.ConsoleListener, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """Print a table whose first column is narrowed if the line is too long."""
    drawn = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="right" if number else "left", no_wrap=bool(number), overflow="fold")
    for line in lines:
        drawn.add_row(*line)
    listener.console.print(drawn, markup=False)


def _to_json(found: Sequence[Measurement]) -> dict[str, Any]:
    import os
    import platform

    import onnxruntime

    return {
        "models": [one.to_json() for one in found],
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "onnxruntime": onnxruntime.__version__},
    }
