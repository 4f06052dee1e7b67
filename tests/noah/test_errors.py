"""The exception tree is the one drawn in its docstring, and every error carries what a person needs."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from noah import errors
from noah.errors import NoahError, SettingsError, UnreadableImageError, UsageError, inside_sentence, system_cause

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, NoahError)]


def test_the_drawn_tree_is_the_real_one() -> None:
    drawn: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)(\w+Error)\b", line)
        if match:
            drawn.append((len(match[1]), match[2]))
    parents: dict[str, str] = {}
    stack: list[tuple[int, str]] = []
    for indent, name in drawn:
        while stack and stack[-1][0] >= indent:
            stack.pop()
        parents[name] = stack[-1][1] if stack else "Exception"
        stack.append((indent, name))
    assert parents == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


@pytest.mark.parametrize("kind", CLASSES)
def test_exit_codes_and_copies(kind: type[NoahError]) -> None:
    assert kind.exit_code == (2 if issubclass(kind, UsageError) else 1)
    error = kind(["one", "two"], "hint") if issubclass(kind, SettingsError) else kind("one", "hint")
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  # our own bytes
        assert (type(twin), twin.problem, twin.hint, str(twin)) == (kind, error.problem, error.hint, str(error))


@pytest.mark.parametrize(
    ("message", "inside"),
    [
        ("Input should be 'A'", "input should be 'A'"),
        ("URL has no host", "URL has no host"),
        ("A value of Mine", "a value of Mine"),
        ("must be M or G", "must be M or G"),
        ("", ""),
    ],
)
def test_inside_a_sentence_a_message_keeps_all_but_its_first_letter(message: str, inside: str) -> None:
    assert inside_sentence(message) == inside


def test_the_systems_cause_keeps_what_may_be_a_path() -> None:
    assert system_cause(OSError(2, "No such file or directory", "My/A")) == "no such file or directory"
    assert system_cause(OSError("My/A: odd")) == "My/A: odd"
    assert system_cause(OSError()) == "OSError"


def test_text() -> None:
    assert str(NoahError("What.", "Do.")) == "What.\nDo."
    assert str(NoahError("What.")) == "What."


def test_the_cause_of_an_unreadable_image_is_its_problem_unless_told() -> None:
    assert UnreadableImageError("Cannot read a.png: cut short.").cause == "Cannot read a.png: cut short."
    error = UnreadableImageError("Cannot read a.png: cut short.", "hint", "cut short.")
    for twin in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301  # our own bytes
        assert (twin.problem, twin.hint, twin.cause) == ("Cannot read a.png: cut short.", "hint", "cut short.")
