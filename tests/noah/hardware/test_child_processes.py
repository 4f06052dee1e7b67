"""Processes that are started beside this one: they end with it, and each has a GPU."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest
import torch

from noah.hardware.child_processes import gpus_in_turns

STARTER = """
import subprocess, sys, time
child = "import os, sys, time; from noah.hardware.child_processes import end_with; end_with(int(sys.argv[1]));"
child += "print(os.getpid(), flush=True); time.sleep(600)"
import os
subprocess.Popen([sys.executable, "-c", child, str(os.getpid())])
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_child_ends_with_its_parent(how: str) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        getattr(parent, how)()
        assert psutil.wait_procs([child], timeout=60)[1] == []


@pytest.mark.parametrize(
    ("device", "there", "visible", "turns"),
    [
        ("cuda", 2, None, ("0", "1", "0")),
        ("auto", 2, "3,GPU-7", ("3", "GPU-7", "3")),
        ("auto", 1, None, (None, None, None)),
        ("cpu", 2, None, (None, None, None)),
    ],
)
def test_they_take_turns_with_gpus(
    device: str, there: int, visible: str | None, turns: tuple[str | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus_in_turns(device, 3) == turns
