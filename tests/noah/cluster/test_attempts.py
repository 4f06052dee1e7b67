"""How much dying is too much, and what comes back of a work that fails."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from noah.cluster.attempts import MOST_CRASHES, MOST_LOSSES, Deaths, how_it_died, machine_died, portable
from noah.cluster.crew import Crew, _Known
from noah.cluster.session import Machine
from noah.errors import DataError, NoahError
from tests.noah.tiny_run import Recorder


class _NodeDiedError(Exception):
    pass


class _OutOfMemoryError(Exception):
    pass


RAY: Any = SimpleNamespace(exceptions=SimpleNamespace(NodeDiedError=_NodeDiedError, OutOfMemoryError=_OutOfMemoryError))


def test_machines_and_processes_are_counted_apart() -> None:
    deaths = Deaths()
    assert [deaths.count(lost=True) for _ in range(MOST_LOSSES)] == [False] * (MOST_LOSSES - 1) + [True]
    assert [deaths.count(lost=False) for _ in range(MOST_CRASHES)] == [False] * (MOST_CRASHES - 1) + [True]
    assert int(deaths) == MOST_LOSSES + MOST_CRASHES


def test_what_ray_says_of_a_death() -> None:
    assert machine_died(RAY, _NodeDiedError()) and machine_died(RAY, Exception("The actor died: its node has died."))
    assert not machine_died(RAY, Exception("The worker died."))
    assert "--threads" in how_it_died(RAY, _OutOfMemoryError())[1]


def test_an_error_travels_as_it_is_or_as_its_text() -> None:
    class LocalError(Exception):
        pass

    error = DataError("wrong", "right")
    assert portable(error) is error
    assert str(portable(LocalError("far"))) == "LocalError: far"


def test_a_machine_that_takes_many_processes_with_it_ends_no_work() -> None:
    """Each had another question; only one that loses machine after machine is given up."""
    cluster: Any = SimpleNamespace(
        ray=SimpleNamespace(remote=lambda **_: lambda kind: kind, put=lambda value: value, exceptions=RAY.exceptions),
        machines=lambda: (Machine("here", "m1", {"CPU": 8.0}),),
    )
    recorder = Recorder()
    crew: Crew[int, int] = Crew(cluster, lambda: lambda question: question, recorder)
    deaths = {place: Deaths() for place in range(3 * MOST_LOSSES)}

    def lose(place: int | None, machine: str = "gone") -> None:
        crew._members.append(member := _Known(None, machine, place))
        crew._bury(member, _NodeDiedError(), place, deaths)

    for place in deaths:
        lose(place)
        lose(None, machine="")  # one that was still starting
    assert sum("is gone" in line for line in recorder.said) == 2 * len(deaths)
    with pytest.raises(NoahError, match="time after time"):
        for _ in range(MOST_LOSSES):
            lose(0)
