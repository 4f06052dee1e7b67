"""The order of the kit's parts, their time, and the report; and the tests for a GPU, on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.gpu_kit import Part, begin, fingerprint, parts, report, run_part, run_parts, table
from tests.commands import PROJECT, process_environment


def python_part(name: str, code: str, **options: Any) -> Part:
    return Part(name, [sys.executable, "-c", code], 1.0, **options)


def test_what_is_finished_is_not_run_again(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write = f"open({str(log)!r}, 'a').write('x'); raise SystemExit"
    all_parts = [python_part("good", f"{write}(1)", ends_with=(0, 1)), python_part("bad", f"{write}(2)")]
    for calls in (2, 3):
        assert run_parts(all_parts, tmp_path, time.monotonic() + 60) == ["bad"]
        assert len(log.read_text()) == calls
    assert run_parts(all_parts, tmp_path, time.monotonic() + 1) == ["bad"]  # there is no time to begin it
    assert len(log.read_text()) == 3


@pytest.mark.slow
def test_a_part_that_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    started = tmp_path / "started"
    child = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert run_part(python_part("hangs", code), 5.0) is None
    left = psutil.Process(int(started.read_text())) if psutil.pid_exists(int(started.read_text())) else None
    with suppress(psutil.NoSuchProcess):  # the system takes a moment; one that has ended may wait to be collected
        while left and left.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.05)


def test_another_card_or_code_begins_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "parts"
    origin = {"device": "A", "torch": "2.11.0", "code": "1", "code of the tests": "2"}
    begin(folder, origin)
    (folder / "steps.done").touch()
    begin(folder, origin)
    assert (folder / "steps.done").exists() and not capsys.readouterr().out
    (folder / "tests.done").touch()
    origin |= {"code of the tests": "3"}
    begin(folder, origin)
    assert (folder / "steps.done").exists() and not (folder / "tests.done").exists()
    assert "another code of the tests than" in capsys.readouterr().out
    begin(folder, origin | {"code": "2", "device": "B"})
    assert not (folder / "steps.done").exists()
    assert "another device and another code" in capsys.readouterr().out
    assert json.loads((folder / "origin.json").read_text())["device"] == "B"


def test_the_fingerprint_is_that_of_the_code(tmp_path: Path) -> None:
    found = [fingerprint("noah", root=tmp_path)]
    (tmp_path / "noah" / "model").mkdir(parents=True)
    for name, content in (("a.py", "1"), ("a.py", "2"), ("b.py", "2"), ("b.txt", "2")):
        (tmp_path / "noah" / "model" / name).write_text(content)
        found.append(fingerprint("noah", root=tmp_path))
    assert len(set(found)) == 4 and found[-1] == found[-2]  # text is no code


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_part_is_of_the_device(device: str, tmp_path: Path) -> None:
    tests, *benchmarks = parts(device, tmp_path)
    assert tests.variables["NOAH_TEST_DEVICE"] == device
    for part in benchmarks:
        assert f"--device={device}" in part.command and ("--tiny" in part.command) == (device == "cpu")


def test_the_report_tells_what_there_is_so_far(tmp_path: Path) -> None:
    nothing = report(tmp_path, "NVIDIA H100", ["tests", "steps"], 1.0)
    assert "# NVIDIA H100" in table(nothing) and "left to do: tests, steps." in table(nothing)
    lines = [
        {"test": "a", "outcome": "failed", "seconds": 1.0, "why": "E   wrong"},
        {"test": "b", "outcome": "skipped", "seconds": 0.0, "why": "not installed: onnx"},
        {"test": "a", "outcome": "passed", "seconds": 1.0, "why": ""},
    ]
    (tmp_path / "tests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = {"versions": {"torch": "2.11.0"}, "precision": "bf16", "published_tflops": 989.0, "measured_tflops": 790.0}
    (tmp_path / "device.json").write_text(json.dumps(facts))
    result = {
        **{"model": "m", "space": "s", "work": "training", "batch_size": 64, "rounds": 1, "macs_ratio": [1.0]},
        **{"peak_mib": {}, "operations": [1e12]},
        "seconds": {
            "straightforward fp32": [0.4],
            "ours bf16": [0.01],
            "backbone fp32": [0.1],
            "backbone bf16": [0.005],
        },
    }
    (tmp_path / "m-s-training.json").write_text(json.dumps(result))
    recipe = {"model": "m", "supernet_epochs": 500, "retrain_epochs": 100, "candidates": 800, "images_shown": 9}
    recipe |= {"supernet": 100.0, "search": 50.0, "retrain": 20.0, "total": 170.0}
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    seconds = {"backbone bf16": [0.004], "program-compiled bf16": [0.002]}
    program = {"model": "m", "batch_size": 64, "rounds": 1, "seconds": seconds}
    (tmp_path / "program.json").write_text(json.dumps(program))
    text = table(report(tmp_path, "NVIDIA H100", [], 400.0))
    assert "| program-compiled bf16 | 32000.0  | 2.00       |" in text, text
    for told in ("1 passed, 1 skipped", "not installed: onnx", "10.1%", "12.7%", "40.00", "| total    | 170", "400 s."):
        assert told in text, text


@pytest.mark.slow
def test_the_tests_for_a_gpu_pass_on_the_cpu_and_are_run_once(tmp_path: Path) -> None:
    """All but those of compiled blocks, which are compiled for a minute: make gpu DEVICE=cpu runs these, too."""
    record = tmp_path / "tests.jsonl"
    environment = process_environment() | {"NOAH_TEST_DEVICE": "cpu", "NOAH_TEST_RECORD": str(record)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", "-k", "not compiled"]

    def run() -> int:
        done = subprocess.run(
            [*command, "tests/gpu"], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=280
        )
        return done.returncode

    code = run()
    outcomes = [json.loads(line) for line in record.read_text().splitlines()]
    assert code == 0, outcomes
    assert len(outcomes) >= 10 and {line["outcome"] for line in outcomes} == {"passed"}
    assert run() == 5  # nothing is left
