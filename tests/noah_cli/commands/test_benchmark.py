"""`noah benchmark`: tables that are wider than the console."""

from __future__ import annotations

from noah.benchmark.suites import POCKET
from noah.benchmark.tables import sweep_tables
from noah_cli.commands.benchmark import print_table
from noah_cli.terminal.console import ConsoleListener
from tests.noah.benchmark.made import row

METHODS = ("noah", "lora:8", "lora_proj:17", "linear_adapter_attention:17", "scale_shift", "adapter_plus:16", "linear")


def test_a_table_that_is_too_wide_comes_in_several() -> None:
    rows = [row(task, method, 0, 500) for task in POCKET.names for method in METHODS]
    listener = ConsoleListener()
    listener.console.width = 80
    with listener.console.capture() as captured:
        for table in sweep_tables(POCKET, POCKET.names, METHODS, rows):
            print_table(listener, table)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "(1 of 2)" in captured.get() and "(2 of 2)" in captured.get()
    words = captured.get().split()
    assert {"noah", "lora_proj:17", "attention:17", "scale_shift", "linear"} <= set(words)
    assert words.count("50.00") == len(rows)  # of the seed, and no column is lost
    assert sum(line.split()[:2] == ["digits", "0"] for line in lines) == 2  # both names stand in each part
    with listener.console.capture() as captured:
        print_table(listener, sweep_tables(POCKET, POCKET.names, METHODS[:2], rows)[0])
    assert "(1 of" not in captured.get()
