"""What tasks ask for, and how many of them a machine holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.cluster.resources import MEMORY_STEP, Resources, cores_beside_gpu, memory_for, nobody_has
from noah.errors import UsageError

MACHINE = {"CPU": 8.0, "GPU": 2.0, "memory": 32 * 2.0**30, "node:10.0.0.1": 1.0}


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (Resources(), 8),
        (Resources(cpus=2), 4),
        (Resources(cpus=1, gpus=1), 2),
        (Resources(cpus=1, gpus=0.25), 8),
        (Resources(cpus=1, gpus=0.1), 8),  # cores run out first
        (Resources(cpus=0, gpus=0.1), 20),  # 2.0 / 0.1 is a hair less than 20
        (Resources(cpus=1, memory=20 * 2**30), 1),
        (Resources(gpus=4), 0),
        (Resources(cpus=0), 1),
    ],
)
def test_how_many_fit(asked: Resources, count: int) -> None:
    assert asked.fit(MACHINE) == count


@pytest.mark.parametrize("wrong", [{"gpus": 1.5}, {"cpus": -1}, {"memory": -1}, {"gpus": -0.5}])
def test_what_nobody_can_have(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Resources(**wrong)  # type: ignore[arg-type]  # a memory of -1 is an int


def test_in_words() -> None:
    assert str(Resources(2, 0.5, 3 * 2**29)) == "2 cores, 0.5 GPU, 1.5 GiB of memory"
    assert str(Resources(1, 2)) == "1 core, 2 GPUs"


@given(st.floats(1, 1e6))
def test_memory_is_more_than_the_peak_in_whole_steps(peak: float) -> None:
    asked = memory_for(peak)
    assert asked % MEMORY_STEP == 0
    assert 1.25 * peak * 2**20 <= asked < 1.25 * peak * 2**20 + MEMORY_STEP


def test_an_unknown_peak_asks_for_nothing() -> None:
    assert memory_for(None) == 0
    assert Resources(memory=0).options()["memory"] is None  # which is how Ray spells it


def test_the_cores_beside_a_gpu() -> None:
    assert cores_beside_gpu([MACHINE, {"CPU": 6.0, "GPU": 3.0}, {"CPU": 1.0}]) == 2
    assert cores_beside_gpu([MACHINE], 0.5) == 2
    assert cores_beside_gpu([MACHINE, {"GPU": 1.0}]) == 4  # a machine that gives no cores to anyone
    assert cores_beside_gpu([{"GPU": 1.0}]) == 1


def test_the_note_where_nobody_is_large_enough_says_what_to_do() -> None:
    note = nobody_has(Resources(64))
    assert "64 cores" in note and "fewer --threads" in note and "Ctrl-C" in note
