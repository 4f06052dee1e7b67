"""`noah benchmark pocket`: its parts as typed, on a tiny backbone, and tables that are wider than the console."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from noah.benchmark.rows import write_row
from noah.benchmark.suites import POCKET
from noah.benchmark.tables import sweep_tables
from noah_cli.commands.benchmark import print_table
from noah_cli.terminal.console import ConsoleListener
from tests.commands import noah_line, write_settings
from tests.conftest import TinySettings
from tests.noah.benchmark.made import row

SHIFT = "noah benchmark pocket --part shift --tasks rendered_dsprites_loc_noise --methods linear --seeds 0"
METHODS = ("noah", "lora:8", "lora_proj:17", "linear_adapter_attention:17", "scale_shift", "adapter_plus:16", "linear")
FEW_SHOT = "noah benchmark pocket --part few-shot --tasks shapes_count-1shot --seeds 1"


@pytest.fixture
def folder(tmp_path: Path, one_thread: None, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with settings of seconds."""
    settings = tiny_settings({"retrain.batch_size": 100})
    del settings["data"]
    shutil.copy(settings["backbone"]["name"], tmp_path / "tiny.safetensors")
    settings["backbone"]["name"] = "tiny.safetensors"
    write_settings(tmp_path, settings)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_parts_then_their_tables(folder: Path) -> None:
    outcome = noah_line(SHIFT)
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 cells (2 tasks, 1 methods, seeds 0); 0 are done already" in outcome.words
    results = folder / "benchmarks" / "pocket"
    assert sorted(path.name for path in (results / "rows").iterdir()) == [
        "rendered_dsprites_loc-linear-seed0.json",
        "rendered_dsprites_loc_noise-linear-seed0.json",
    ]
    assert "shift: test accuracy in percent" in outcome.words and "pocket: test accuracy" not in outcome.words
    assert "2 are done already" in noah_line(SHIFT).words

    some = noah_line(f"{FEW_SHOT} --methods linear")
    assert some.code == 0
    assert "1 cells (1 tasks, 1 methods, seeds 1)" in some.words
    trained = json.loads(next((results / "rows").glob("shapes_count-1shot-*.json")).read_text())
    assert trained["training_images"] == 8

    for number, method in enumerate(("noah", "lora:8", "lora_proj:18", "linear_adapter_attention:18", "scale_shift")):
        for task in ("rendered_letters_sans", "rendered_letters_computer_modern"):
            write_row(results, row(task, method, 0, 900 - 10 * number))
    shown = noah_line("noah benchmark pocket --only-tables --seeds 0")
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines())) <= 80
    assert "in brackets the difference to that on the source (2 of " in shown.words
    assert {"scale_shift", "attention:18"} <= set(shown.words.split())  # methods that there are, besides the suite's
    written = (results / "table.md").read_text(encoding="utf-8")
    assert "| rendered_dsprites_loc<br>-\\> rendered_dsprites_loc_noise |" in written
    assert "rendered_dsprites_ori" not in written


def test_without_ray_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for line in (f"{FEW_SHOT} --methods linear --ray", f"{FEW_SHOT} --methods linear --ray auto"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "ray", None)  # importing it fails
            outcome = noah_line(line)
        assert (outcome.code, outcome.error_lines) == (
            1,
            [
                "Error: --ray needs the package ray, which is not installed.",
                "Type: pip install 'noah-prompt-search[ray]'",
            ],
        )
    assert not (folder / "benchmarks").exists()


def test_what_only_a_cluster_has() -> None:
    for option in ("--storage here", "--gpus 0.5", "--gpus 1"):
        outcome = noah_line(f"noah benchmark pocket {option}")
        assert (outcome.code, outcome.error_lines[0].endswith("says how cells are spread over machines.")) == (2, True)
    outcome = noah_line(f"{FEW_SHOT} --methods linear --ray=somewhere")
    assert outcome.code == 2 and "--ray somewhere: not a place where Ray runs." in outcome.err


def test_a_part_that_a_suite_lacks() -> None:
    outcome = noah_line("noah benchmark vtab --part shift")
    assert (outcome.code, outcome.error_lines) == (
        2,
        ["Error: --part: the suite vtab has no 'shift'.", "It has accuracy."],
    )


def test_a_table_that_is_too_wide_comes_in_several() -> None:
    names = [task.name for task in POCKET.choose(None, ["accuracy"])]
    rows = [row(task, method, 0, 500) for task in names for method in METHODS]
    listener = ConsoleListener()
    listener.console.width = 80
    with listener.console.capture() as captured:
        for table in sweep_tables(POCKET, names, METHODS, rows):
            print_table(listener, table)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert "(1 of 2)" in captured.get() and "(2 of 2)" in captured.get()
    words = captured.get().split()
    assert {"noah", "lora_proj:17", "attention:17", "scale_shift", "linear"} <= set(words)
    assert words.count("50.00") == len(rows)  # of the seed, and no column is lost
    assert sum(line.split()[:2] == ["digits", "0"] for line in lines) == 2  # both names stand in each part
    with listener.console.capture() as captured:
        print_table(listener, sweep_tables(POCKET, names, METHODS[:2], rows)[0])
    assert "(1 of" not in captured.get()
