"""Processes that work together on a cluster: what each knows of the others, and how all end when one does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.cluster.deaths import MOST_CRASHES
from noah.cluster.reports import Report
from noah.cluster.session import connect
from noah.cluster.together import Place, torchrun_variables, work_together
from noah.errors import DataError, NoahError
from tests.noah.cluster import work
from tests.noah.cluster.machines import machines
from tests.noah.tiny_run import Recorder


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_each_knows_its_rank_among_all_and_on_its_machine(names: list[str]) -> None:
    found = torchrun_variables([Place(name, f"address of {name}", 1 + rank) for rank, name in enumerate(names)])
    assert [variables["RANK"] for variables in found] == [str(rank) for rank in range(len(names))]
    assert {(each["WORLD_SIZE"], each["MASTER_ADDR"], each["MASTER_PORT"]) for each in found} == {
        (str(len(names)), f"address of {names[0]}", "1")
    }
    for name in names:
        here = [variables for variables, other in zip(found, names, strict=True) if other == name]
        assert [variables["LOCAL_RANK"] for variables in here] == [str(rank) for rank in range(len(here))]
        assert {variables["LOCAL_WORLD_SIZE"] for variables in here} == {str(len(here))}


@pytest.mark.slow
def test_all_end_when_one_does() -> None:
    """One cluster for all of it, because starting one takes longer than everything else."""
    with machines(2) as nodes, connect(nodes.address, recorder := Recorder()) as cluster:
        told: list[Report] = []
        assert work_together(cluster, 2, lambda: work.variables, recorder, told=told.append) == "0 2 0 1"
        assert [(report.text, report.kept) for report in told] == [("said      by the first", None), ("", b"kept")]
        assert recorder.said[-1] == "together  2 processes on 2 machines (1 core each)"

        # Nobody waits for the first of them, which would outlast the limit of this test.
        with pytest.raises(DataError, match="these images are wrong"):
            work_together(cluster, 2, lambda: work.fail_if_last, recorder)
        with pytest.raises(NoahError, match=rf"given up after {MOST_CRASHES} tries: a process died on "):
            work_together(cluster, 2, lambda: work.crash_if_last, recorder)
        assert sum(line.startswith("retry") for line in recorder.said) == MOST_CRASHES - 1
