"""Keeps what TensorRT logs: it tells the reason of a failure nowhere else."""

from __future__ import annotations

from typing import Any


def make_log(trt: Any) -> Any:
    """A logger of the package whose `errors` and `warnings` are lists of text; nothing is printed.

    Args:
        trt: The module `tensorrt` or `tensorrt_rtx`.
    """

    class Log(trt.ILogger):  # type: ignore[misc]  # the base class comes with the package chosen at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            text = " ".join(message.split()).rstrip(".")
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(text)
            elif severity == trt.ILogger.Severity.WARNING and text not in self.warnings:
                self.warnings.append(text)

    return Log()
