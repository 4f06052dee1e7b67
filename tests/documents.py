"""The command lines that the documents show, and what the documents say of their output."""

from __future__ import annotations

import re

from tests.commands import PROJECT

GENERATED = ("commands.md",)
"""Documents that are written by the program itself."""


def read_document(name: str) -> str:
    """The text of README.md or of a page under docs/."""
    path = PROJECT / name if name == "README.md" else PROJECT / "docs" / name
    return path.read_text(encoding="utf-8")


def document_names() -> list[str]:
    """README.md and every page under docs/ that a person wrote."""
    pages = (path.name for path in sorted((PROJECT / "docs").glob("*.md")))
    return ["README.md", *(name for name in pages if name not in GENERATED)]


def shown_lines(text: str, programs: str = "noah") -> list[str]:
    """The lines of a document that call one of some programs, in the order of the page.

    Args:
        text: The document.
        programs: A regular expression of what the lines begin with.
    """
    return re.findall(rf"^    (?:\$ )?((?:{programs}) .*)$", text, flags=re.MULTILINE)


def shown_labels(text: str, line: str) -> set[str]:
    """The labels of what a document says that a line prints; none where it says nothing."""
    shown = re.search(rf"^    \$ {re.escape(line)}\n((?:    (?!\$ ).*\n)+)", text, flags=re.MULTILINE)
    return labels(shown[1]) if shown else set()


def labels(printed: str) -> set[str]:
    """The words of the first column, such as winner and next."""
    lines = (line.removeprefix("    ") for line in printed.splitlines())
    found = {match[1] for line in lines if (match := re.match(r"([a-zA-Z]+) +\S", line))}
    return found - {"done", "racing"}  # only what takes seconds is done; few candidates are not given up
