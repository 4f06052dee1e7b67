from __future__ import annotations

import pytest

from noah.progress import Bar, Listener, Silent


def test_the_silent_listener_takes_everything_and_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    listener: Listener = Silent()
    listener.say("a sentence")
    with listener.bar("training", 3, "epochs") as bar:
        taken: Bar = bar
        taken.update(1)
        taken.update(3, "loss 0.1")
    assert capsys.readouterr() == ("", "")


def test_its_bar_lets_exceptions_through() -> None:
    with pytest.raises(KeyboardInterrupt), Silent().bar("training", 3, "epochs"):
        raise KeyboardInterrupt
