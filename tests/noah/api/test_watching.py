"""Nothing is printed unless it is wanted, but a warning stays a warning."""

from __future__ import annotations

import warnings

import pytest

from noah.api.watching import listener_for
from noah.progress import Silent


def test_without_progress_only_warnings_are_heard(capsys: pytest.CaptureFixture[str]) -> None:
    listener = listener_for(False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        listener.say("run       runs/photos/first")
        with listener.bar("training", 2, "epochs") as bar:
            bar.update(1, "loss 0.5")
    for line in (
        "WARNING   The supernet has hardly learned",
        "          WARNING: The supernet has hardly learned",
        "images    WARNING: The supernet has hardly learned",
    ):
        with pytest.warns(UserWarning, match=r"^The supernet has hardly learned$"):
            listener.say(line)
    assert capsys.readouterr() == ("", "")


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    listener_for(True).say("run       runs/photos/first")
    assert capsys.readouterr() == ("", "run       runs/photos/first\n")


def test_a_listener_of_the_caller_is_taken_as_it_is() -> None:
    own = Silent()
    assert listener_for(own) is own
