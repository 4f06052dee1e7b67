"""What a launcher's variables mean, and that nothing happens without them; tests/end_to_end starts real processes."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from noah.errors import RunBusyError, UsageError
from noah.hardware.device import Hardware, choose_hardware
from noah.hardware.processes import ALONE, Processes, launched_processes
from noah.runs.folder import Run
from noah.settings.settings import HardwareSettings
from tests.commands import process_environment

SECOND = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def launched(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in SECOND:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_the_launcher_s_variables_say_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, SECOND)
    assert launched_processes() == Processes(1, 2, 1, 2)
    assert str(launched_processes()) == "process 2 of 2"
    assert not launched_processes().is_first
    for variables in ({}, {"WORLD_SIZE": "1"}, {"WORLD_SIZE": "1", "RANK": "0"}):
        launched(monkeypatch, variables)
        assert launched_processes() is ALONE


@pytest.mark.parametrize(
    "change",
    [{"WORLD_SIZE": "many"}, {"RANK": "2"}, {"RANK": "-1"}, {"RANK": ""}, {"WORLD_SIZE": "0"}, {"LOCAL_RANK": "x"}],
)
def test_variables_that_contradict_each_other_are_refused(
    monkeypatch: pytest.MonkeyPatch, change: dict[str, str]
) -> None:
    launched(monkeypatch, SECOND | change)
    with pytest.raises(UsageError, match=r"WORLD_SIZE.*\n.*torchrun"):
        launched_processes()
    launched(monkeypatch, {"WORLD_SIZE": "2"})
    with pytest.raises(UsageError, match="LOCAL_RANK"):
        launched_processes()


def test_alone_everything_is_decided_here() -> None:
    tensor = torch.ones(3)
    with ALONE.first_goes_ahead():
        ALONE.wait()
    ALONE.add_up([tensor])
    assert ALONE.of_first(lambda: 5) == 5
    assert torch.equal(tensor, torch.ones(3))
    assert not torch.distributed.is_initialized()


@pytest.mark.usefixtures("one_thread")
def test_hardware_knows_and_tells_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, SECOND)
    hardware = choose_hardware(HardwareSettings(device="cpu", precision="fp32", threads=1))
    assert hardware.processes == Processes(1, 2, 1, 2)
    assert [(choice.what, choice.value) for choice in hardware.choices] == [("processes", "2")]
    assert hardware.to_json() == {"device": "cpu", "precision": "fp32", "threads": 1, "processes": 2}
    assert "processes" not in Hardware(torch.device("cpu"), "fp32", 1, ()).to_json()


def test_more_processes_than_gpus_are_refused_by_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for rank in ("0", "1"):
        launched(monkeypatch, SECOND | {"RANK": rank, "LOCAL_RANK": rank})
        with pytest.raises(UsageError, match=r"2 processes were started on this machine, which has 1 GPU\."):
            choose_hardware(HardwareSettings(device="cuda", precision="fp32", threads=1))


def test_only_the_first_process_writes_to_a_run(tmp_path: Path) -> None:
    reader, writer = Run(tmp_path, writes=False), Run(tmp_path)
    reader.write_json([1], "a.json")
    reader.log("search", "started")
    reader.append({"line": 1}, "lines.jsonl")
    with writer.lock(), reader.lock():
        assert reader.is_locked() is False  # it asks nothing of the lock
    assert not [path for path in tmp_path.iterdir() if path.name != "lock"]
    writer.write_json([2], "a.json")
    assert reader.read_json("a.json") == [2]
    with writer.lock(), pytest.raises(RunBusyError), Run(tmp_path).lock():
        raise AssertionError("two processes hold one lock")


def test_sums_and_decisions_are_the_same_in_all_processes(tmp_path: Path) -> None:
    """Three real processes, with tensors of several shapes."""
    script = tmp_path / "each.py"
    script.write_text(
        textwrap.dedent(
            """
            import torch
            from noah.hardware.processes import launched_processes, leave

            here = launched_processes()
            first, second = torch.full((2, 3), float(here.rank + 1)), torch.tensor(10.0 ** here.rank)
            strided = torch.zeros(2, 2)[:, 0] + here.rank
            here.add_up([first, second, strided])
            assert torch.equal(first, torch.full((2, 3), 6.0)) and second == 111 and strided.tolist() == [3, 3]
            here.add_up([])
            assert here.of_first(lambda: ("decided", here.rank)) == ("decided", 0)
            with here.first_goes_ahead():
                with open("order.txt", "a") as file:
                    file.write(f"{here.rank}\\n")
            here.wait()
            leave()
            assert not torch.distributed.is_initialized()
            """
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", str(script)],
        cwd=tmp_path,
        env=process_environment() | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    order = (tmp_path / "order.txt").read_text().split()
    assert order[0] == "0" and sorted(order) == ["0", "1", "2"]
