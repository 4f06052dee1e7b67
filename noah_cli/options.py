"""Options that several commands share, and how they become layers of settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from noah.errors import UsageError
from noah.latest import DEFAULT_RUNS, read_latest
from noah.layers import Layer, nested

RunOption = Annotated[
    str | None, typer.Option("--run", help="The run, as DATASET/ID or a path; the latest if not given.", metavar="RUN")
]
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of all runs.", metavar="FOLDER")]
DeviceOption = Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps.", metavar="NAME")]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="auto, fp32 or bf16: of the computation.", metavar="NAME")
]
ThreadsOption = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.", metavar="N")]


_SUFFIXES = {"": 1, "k": 1_000, "m": 1_000_000}


def run_options(folder: Path, runs: Path, *, always: bool = False) -> str:
    """The `--run` and `--runs` with which a command to type next finds a run again.

    Args:
        folder: The run folder.
        runs: The folder of all runs, as given.
        always: Name the run even if it is the latest now, for a command that may be typed much later.
    """
    name = f"{folder.parent.name}/{folder.name}"
    if runs / name != folder:
        return f" --run {shlex.quote(str(folder))}"
    run = f" --run {shlex.quote(name)}" if always or read_latest(runs) != name else ""
    return run if runs == DEFAULT_RUNS else f"{run} --runs {shlex.quote(str(runs))}"


def hardware_layers(device: str | None, precision: str | None, threads: int | None) -> list[Layer]:
    """The layers of --device, --precision and --threads."""
    return option_layers(
        device=("hardware.device", device),
        precision=("hardware.precision", precision),
        threads=("hardware.threads", threads),
    )


def option_layers(**options: tuple[str, Any]) -> list[Layer]:
    """One layer for each option that was given.

    Args:
        options: Any name -> (dotted key of the setting, value or None).
    """
    return [
        Layer(source=f"--{name.replace('_', '-')}", values=nested(key, value))
        for name, (key, value) in options.items()
        if value is not None
    ]


def parse_budget(text: str) -> int | None:
    """The number of parameters in `params=0.64M`, `params=500k`, `params=640000`, or None for `none`.

    Raises:
        UsageError: If it is anything else.
    """
    if text.strip().lower() == "none":
        return None
    match = re.fullmatch(r"params=([0-9]*\.?[0-9]+)([kKmM]?)", text.strip())
    parameters = round(float(match[1]) * _SUFFIXES[match[2].lower()]) if match else 0
    if parameters < 1:
        raise UsageError(f"--budget {text}: not a budget.", "Write it as --budget params=0.64M, or --budget none.")
    return parameters
