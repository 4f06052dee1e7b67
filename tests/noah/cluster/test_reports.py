"""What a task sends: every line, and of a bar a little, but always the last."""

from __future__ import annotations

from noah.cluster.reports import Mailbox, Report, Reporter


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
