"""The `noah` command: collects the commands, and turns errors into one or two lines and an exit code.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from noah.errors import NoahError, UsageError, system_cause
from noah.hardware.processes import ALONE, Processes, launched_processes, leave
from noah.version import __version__
from noah_cli.commands.backbones import backbones
from noah_cli.commands.bench import bench
from noah_cli.commands.benchmark import benchmark
from noah_cli.commands.compare import compare
from noah_cli.commands.datasets import datasets
from noah_cli.commands.datasets_check import check
from noah_cli.commands.doctor import doctor
from noah_cli.commands.evaluate import evaluate
from noah_cli.commands.export import export
from noah_cli.commands.predict import predict
from noah_cli.commands.recipes import recipes
from noah_cli.commands.retrain import retrain
from noah_cli.commands.runs import runs
from noah_cli.commands.search import search
from noah_cli.commands.verify import verify
from noah_cli.options.ray_place import with_ray_place
from noah_cli.report.command import report
from noah_cli.terminal import console
from noah_cli.terminal.encoding import show_plainly
from noah_cli.terminal.output import Output, split_output

app = typer.Typer(
    name="noah",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Search for the best mix of LoRA, adapters and visual prompts for a frozen vision transformer, and export it.",
)
datasets_app = typer.Typer(invoke_without_command=True, callback=datasets)
datasets_app.command("check")(check)
app.command("search")(search)
app.command("retrain")(retrain)
app.command("eval")(evaluate)
app.command("export")(export)
app.command("predict")(predict)
app.command("bench")(bench)
app.command("compare")(compare)
app.command("verify")(verify)
app.command("runs")(runs)
app.command("report")(report)
app.command("benchmark")(benchmark)
app.add_typer(datasets_app, name="datasets")
app.command("backbones")(backbones)
app.command("recipes")(recipes)
app.command("doctor")(doctor)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"noah {__version__}")
        raise typer.Exit


_PATIENCE = 15.0
"""Seconds that the first of several processes has to report what is wrong with the command."""
_SHARED = ("search", "retrain")
"""Commands whose work several processes can share."""


@app.callback()
def common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors; allowed anywhere.")] = False,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Also print every setting with its source; allowed anywhere."),
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", help="Print the result as one JSON object on standard output; allowed anywhere."),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; allowed anywhere.")] = False,
) -> None:
    """Options of every command; `noah_cli.terminal` reads all but --version before the command is parsed."""
    if launched_processes().count > 1 and context.invoked_subcommand not in _SHARED:
        raise UsageError(
            f"noah {context.invoked_subcommand} does not share its work between processes.",
            "Start it without a launcher; only search and retrain can use one.",
        )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments
    for stream in (sys.stdout, sys.stderr):
        show_plainly(stream)
    output, others = split_output([argument for argument in arguments if argument != "--debug"])
    others = with_ray_place(others)
    try:
        app(others, prog_name="noah", obj=output)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if code == 0:
            leave()
        return code
    except NoahError as error:
        if debug:
            raise
        return _fail(error, output)
    except OSError as error:  # a folder without permission to write, a full disk
        if debug:
            raise
        return _fail(_as_noah_error(error), output)
    except RuntimeError as error:
        if debug or not _is_out_of_memory(error):
            raise
        return _fail(_full_memory(error), output)
    leave()
    return 0


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Whether torch ran out of GPU memory; torch is asked only if a command has already loaded it."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def _full_memory(error: RuntimeError) -> NoahError:
    sentences = str(error).split(". ")
    tried = next((sentence for sentence in sentences if sentence.startswith("Tried to allocate")), sentences[0])
    return NoahError(
        f"The memory of the GPU is full: {tried.removesuffix('.')}.",
        "Start a new run that takes each batch in parts: --set supernet.accumulation=4 --set retrain.accumulation=4",
    )


def _fail(error: NoahError, output: Output) -> int:
    """Print an error, also as JSON if the result was to be JSON, and give its exit code."""
    processes = _processes()
    console.print_error(error, processes)
    if isinstance(error, UsageError) and processes.local_rank > 0:
        time.sleep(_PATIENCE)  # a launcher stops all processes when one ends; let the first one report first
    if output.json and processes.is_first:
        console.print_json({"error": error.problem, "hint": error.hint, "exit_code": error.exit_code})
    return error.exit_code


def _processes() -> Processes:
    """This process among those of the command; if the launcher's variables are the error, it counts as alone."""
    try:
        return launched_processes()
    except UsageError:
        return ALONE


def _as_noah_error(error: OSError) -> NoahError:
    """Turn an error of the operating system into one of noah's."""
    place = f"{error.filename}: " if error.filename else ""
    return NoahError(
        f"{place}{system_cause(error)}.", "Check the path, its permissions and the free space; --debug tells more."
    )
