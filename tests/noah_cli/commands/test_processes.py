"""What each of several processes prints."""

from __future__ import annotations

import pytest

from noah.errors import NoahError, ProcessError, TrainingError, UsageError
from noah.hardware.processes import ALONE, Processes
from noah_cli.terminal.console import ConsoleListener, print_error
from tests.commands import noah

FIRST, SECOND, ELSEWHERE = Processes(0, 3, 0, 2), Processes(1, 3, 1, 2), Processes(2, 3, 0, 1)


@pytest.mark.parametrize(
    ("error", "process", "printed"),
    [
        (TrainingError("What.", "Do."), ALONE, "Error: What.\nDo.\n"),
        (TrainingError("What.", "Do."), SECOND, "Error in process 2 of 3: What.\nDo.\n"),
        (UsageError("What."), FIRST, "Error: What.\n"),
        (UsageError("What."), SECOND, ""),
        (UsageError("What."), ELSEWHERE, "Error in process 3 of 3: What.\n"),
        (ProcessError("Gone."), FIRST, "Error: Gone.\n"),
        (ProcessError("Gone."), ELSEWHERE, ""),
    ],
)
def test_each_error_is_told_by_whom_it_concerns(
    capsys: pytest.CaptureFixture[str], error: NoahError, process: Processes, printed: str
) -> None:
    print_error(error, process)
    assert capsys.readouterr().err == printed


def test_the_first_process_alone_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for rank in ("0", "1"):
        for name, value in {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        listener = ConsoleListener()
        listener.say("data      some")
        listener.say_next("noah retrain")
        with listener.bar("work", 1, "steps") as bar:
            bar.update(1)
    assert capsys.readouterr().out == "data      some\nnext      noah retrain\n"


@pytest.mark.parametrize(("rank", "lines"), [("0", 2), ("1", 0)])
def test_other_commands_are_refused_under_a_launcher(monkeypatch: pytest.MonkeyPatch, rank: str, lines: int) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": rank, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    waits: list[float] = []
    monkeypatch.setattr("noah_cli.app.time.sleep", waits.append)
    outcome = noah("eval")
    assert len(waits) == int(rank)  # until the first has told it; a launcher ends all as soon as one has
    assert outcome.code == 2
    assert len(outcome.error_lines) == lines
    joining = noah("search", "--join", "first")
    assert joining.code == 2
    assert len(joining.error_lines) == lines
