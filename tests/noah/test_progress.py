from __future__ import annotations

import pytest

from noah.progress import Bar, Listener, Silent, counted, first_of, joined


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


@pytest.mark.parametrize(
    ("count", "listed"), [(1, "0"), (3, "0, 1, 2"), (4, "0, 1, 2 and 1 more"), (2003, "0, 1, 2 and 2,000 more")]
)
def test_names_beyond_the_first_are_counted(count: int, listed: str) -> None:
    assert first_of([str(number) for number in range(count)], 3) == listed


@pytest.mark.parametrize(
    ("unit", "one"),
    [("images", "image"), ("classes", "class"), ("searches", "search"), ("boxes", "box"), ("sizes", "size")],
)
def test_one_of_a_unit_is_in_the_singular(unit: str, one: str) -> None:
    assert (counted(1, unit), counted(1200, unit)) == (f"1 {one}", f"1,200 {unit}")
