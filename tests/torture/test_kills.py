"""Fifty `kill -9` at random moments: whatever they hit, the end is that of the undisturbed run, byte for byte.

make torture
"""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.commands import start_noah
from tests.conftest import TinySettings
from tests.torture.road import (
    STAGES,
    Road,
    check_nothing_is_torn,
    command_of,
    go_on,
    has_begun,
    make_road,
    prepare,
    results,
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

KILLS = int(os.environ.get("NOAH_KILLS", "50"))


@pytest.fixture(scope="module")
def road(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings, photo_folder: Path) -> Road:
    return make_road(tmp_path_factory.mktemp("whole"), tiny_settings, photo_folder)


@pytest.mark.parametrize("number", range(KILLS))
def test_a_kill(number: int, road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = STAGES[number % len(STAGES)]
    monkeypatch.chdir(tmp_path)
    run = prepare(road, tmp_path, stage)
    wait = random.Random(number).uniform(0, road.seconds[stage])
    killed = kill_after(wait, run, stage, tmp_path)
    check_nothing_is_torn(run)
    go_on(run, stage)
    assert results(run, stage) == road.results(stage)
    if stage == "supernet":
        assert results(run, "search") == road.results("search")
    print(
        f"\nkill {number}: {stage} after {wait:.2f} s of {road.seconds[stage]:.2f} s, {'hit' if killed else 'too late'}"
    )


def kill_after(wait: float, run: Path, stage: str, folder: Path) -> bool:
    """Start the stage and kill it so many seconds after its work has begun; whether it still ran then."""
    with start_noah(*command_of(stage), folder=folder) as process:
        while process.poll() is None and not has_begun(run, stage):
            time.sleep(0.002)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    return process.returncode == -signal.SIGKILL
