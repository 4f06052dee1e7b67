"""The table of a choice in the terminal: every candidate with its figures or its reason."""

from __future__ import annotations

import io

from rich.console import Console

from noah_cli.terminal.choice_table import print_choice
from noah_cli.terminal.console import ConsoleListener
from tests.export.choices import make_choice


def test_it_has_a_line_for_each_with_figures_or_the_reason() -> None:
    listener = ConsoleListener()
    listener.console = Console(file=io.StringIO(), width=80, highlight=False)
    print_choice(listener, make_choice())
    assert isinstance(listener.console.file, io.StringIO)
    lines = [" ".join(line.split()) for line in listener.console.file.getvalue().splitlines()]
    order = [line.split()[0] for line in lines if line.startswith(("onnx", "openvino", "plain"))]
    assert order == ["openvino-fp32", "onnx-fp32", "onnx-fp16", "plain"]
    assert "openvino-fp32 95.00% 0.00 10.00 800 2.00 as fast" in lines
    assert "onnx-fp32 95.00% 0.00 10.10 792 1.98 chosen" in lines
    assert "plain backbone 20.00 400 1" in lines
    assert "rejected onnx-int8, 5.00 points lost: It loses 5 points" in lines
    assert "rejected trt-fp16: this machine has no NVIDIA driver" in lines
