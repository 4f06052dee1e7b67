"""How a death is told, and how much dying is too much."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from noah.cluster.crew import Crew, _Known
from noah.cluster.deaths import MOST_CRASHES, MOST_LOSSES, Death, Deaths, explain_death
from noah.cluster.session import Machine, Machines
from noah.errors import NoahError
from tests.noah.tiny_run import Recorder


class _NodeDiedError(Exception):
    pass


class _OutOfMemoryError(Exception):
    pass


RAY: Any = SimpleNamespace(exceptions=SimpleNamespace(NodeDiedError=_NodeDiedError, OutOfMemoryError=_OutOfMemoryError))
LOST, CRASHED = Death(True, "m1 (here) is gone", "logs"), Death(False, "a process died on m1 (here)", "logs")


def cluster_of(there: list[Machine], ray: Any = RAY) -> Any:
    return SimpleNamespace(ray=ray, machines=lambda: tuple(there))


def test_machines_and_processes_are_counted_apart() -> None:
    deaths = Deaths()
    assert [deaths.count(LOST) for _ in range(MOST_LOSSES)] == [False] * (MOST_LOSSES - 1) + [True]
    assert [deaths.count(CRASHED) for _ in range(MOST_CRASHES)] == [False] * (MOST_CRASHES - 1) + [True]
    assert int(deaths) == MOST_LOSSES + MOST_CRASHES
    assert "The work was given up after 23 tries: a process died on m1 (here)." in str(
        deaths.give_up("The work", CRASHED)
    )


def test_a_death_is_told_by_what_ray_says_and_by_which_machines_are_left() -> None:
    there = [Machine("0123456789", "m1", {}), Machine("abcdefghij", "m2", {})]
    machines = Machines(cluster_of(there))
    machines.there()
    del there[1]

    def explained(error: Exception, machine: str) -> Death:
        return explain_death(RAY, error, machine, machines)

    for error in (_NodeDiedError(), Exception("The actor died: its node has died.")):
        assert explained(error, "0123456789") == Death(True, "m1 (012345) is gone", "Look at the machine's own logs.")
    assert explained(Exception("The worker died."), "abcdefghij").how == "m2 (abcdef) is gone"
    assert explained(Exception("The worker died."), "0123456789").how == "a process died on m1 (012345)"
    assert explained(Exception("The worker died."), "").how == "a process died on a machine"
    full = explained(_OutOfMemoryError(), "0123456789")
    assert not full.lost and "m1 (012345) because the memory was full" in full.how and "--threads" in full.hint


def test_a_machine_that_takes_many_processes_with_it_ends_no_work() -> None:
    """Each had another question; only one that loses machine after machine is given up."""
    ray = SimpleNamespace(
        remote=lambda **_: lambda kind: kind, put=lambda value: value, exceptions=RAY.exceptions, is_initialized=bool
    )
    recorder = Recorder()
    cluster = cluster_of([Machine("here", "m1", {"CPU": 8.0})], ray)
    crew: Crew[int, int] = Crew(cluster, lambda: lambda question: question, recorder)
    deaths = {place: Deaths() for place in range(3 * MOST_LOSSES)}

    def lose(place: int | None, machine: str = "gone") -> None:
        crew._members.append(member := _Known(None, machine, place))
        crew._bury(member, _NodeDiedError(), place, deaths)

    for place in deaths:
        lose(place)
        lose(None, machine="")  # one that was still starting
    assert sum("is gone" in line for line in recorder.said) == 2 * len(deaths)
    with pytest.raises(NoahError, match=f"given up after {MOST_LOSSES} tries: a machine"):
        for _ in range(MOST_LOSSES):
            lose(0)
