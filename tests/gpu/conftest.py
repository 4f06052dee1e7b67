"""Tests for a GPU, which run on a CPU, too, to see that they are written correctly.

    pytest -m gpu tests/gpu                         on an NVIDIA GPU; skipped without one
    NOAH_TEST_DEVICE=cpu pytest -m gpu tests/gpu    on the CPU

NOAH_TEST_RECORD names a file: each test adds a line with its outcome, and those that passed or were skipped according
to it are not run again.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.noah.tiny_backbone import load

if TYPE_CHECKING:
    import torch

    from benchmarks.step_ways import Setting
    from noah.backbone.load import Backbone

RECORD = "NOAH_TEST_RECORD"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    path = Path(os.environ.get(RECORD, ""))
    if not path.is_file():
        return
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    done = {line["test"] for line in lines if line["outcome"] != "failed"}
    known = [item for item in items if item.nodeid in done]
    config.hook.pytest_deselected(items=known)
    items[:] = [item for item in items if item.nodeid not in done]


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if RECORD not in os.environ or (report.when != "call" and report.passed):
        return
    why = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        why = report.longrepr[2].removeprefix("Skipped: ")
    elif report.failed:
        why = report.longreprtext.strip().splitlines()[-1]
    line = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2), "why": why}
    with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device that these tests are about."""
    import torch

    name = os.environ.get("NOAH_TEST_DEVICE", "cuda")
    if name == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no NVIDIA GPU; NOAH_TEST_DEVICE=cpu runs this on the CPU")
    return torch.device(name)


@pytest.fixture(scope="session")
def setting(device: torch.device) -> Setting:
    """A backbone of the size that people use on a GPU; on the CPU the tiny one. It is always made on the CPU."""
    import torch

    from benchmarks.step_ways import Setting

    return Setting("vit-b16-224" if device.type == "cuda" else "tiny", "paper", torch.device("cpu"), 4, "fp32")


@pytest.fixture
def backbone(setting: Setting, device: torch.device, tiny_backbone_file: Path) -> Backbone:
    """That backbone on the device, as a run has it."""
    from dataclasses import replace

    from benchmarks.step_ways import ARCHITECTURES

    side = ARCHITECTURES[setting.model][1]
    return replace(load(tiny_backbone_file), model=setting.backbone().to(device), image_size=(side, side))
