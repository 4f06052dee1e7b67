from __future__ import annotations

import pytest

from noah.progress import Bar, Listener, Silent, joined


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


@pytest.mark.parametrize(
    ("words", "sentence"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_words_are_joined_as_in_a_sentence(words: list[str], sentence: str) -> None:
    assert joined(words) == sentence
