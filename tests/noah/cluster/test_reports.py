"""What a task sends: every line, and of a bar a little, but always the last."""

from __future__ import annotations

from noah.cluster.reports import Mailbox, Report, Reporter
from noah.progress import TrainingDetail


def test_lines_arrive_once_and_in_order() -> None:
    box = Mailbox()
    reporter = Reporter("cell", "m1", box.put)
    reporter.say("device    cpu")
    reporter.say("row       98.00%")
    taken = box.take()
    assert [(report.task, report.machine, report.text) for report in taken] == [
        ("cell", "m1", "device    cpu"),
        ("cell", "m1", "row       98.00%"),
    ]
    assert str(taken[0]) == "cell: cpu"
    assert box.take() == []


def test_a_bar_sends_little_and_always_its_end() -> None:
    now = 0.0
    sent: list[Report] = []
    reporter = Reporter("cell", "m1", sent.append, clock=lambda: now)
    with reporter.bar("training", 100, "epochs") as bar:
        for step in range(1, 101):
            now += 0.01
            bar.update(step, "loss 0.5" if step == 50 else "")
    assert [report.done for report in sent] == [1, 51, 100]
    assert str(sent[0]) == "cell: training 1%"
    assert str(sent[-1]) == "cell: training, loss 0.5, 100%"


def test_a_bar_that_an_error_ends_says_how_far_it_came() -> None:
    sent: list[Report] = []
    reporter = Reporter("cell", "m1", sent.append, clock=lambda: 0.0)
    try:
        with reporter.bar("training", 4, "epochs") as bar:
            bar.update(1)
            bar.update(2)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    assert [report.done for report in sent] == [1, 2]


def test_a_detail_is_sent_once_however_often_progress_is() -> None:
    """A tracker measures how long an epoch took from one detail to the next."""
    now = 0.0
    sent: list[Report] = []
    reporter = Reporter("trainer", "m1", sent.append, clock=lambda: now, detailed=True)
    details = [TrainingDetail(1000, (0.5,) * epochs) for epochs in (1, 2)]
    with reporter.bar("training", 2, "epochs") as bar:
        for step in range(1, 121):
            now += 1.0
            bar.update(step / 60, "", details[step // 60 - 1] if step % 60 == 0 else None)
    assert len(sent) == 120
    assert [(report.done, report.detail) for report in sent if report.detail] == [(1, details[0]), (2, details[1])]
