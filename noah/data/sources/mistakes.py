"""What is wrong with a list of images, collected so that a person sees all of it at once, but no more than a page."""

from __future__ import annotations

from noah.errors import DataError

MOST_TOLD = 10
"""How many mistakes an error spells out; the others are counted."""
_LONGEST = 80
"""The most letters of what is quoted."""


class Mistakes:
    """Mistakes in one file or folder, in the order in which they were found.

    Attributes:
        where: The file or folder.
        count: How many there are.
    """

    def __init__(self, where: object) -> None:
        self.where = where
        self.count = 0
        self._told: list[str] = []
        self._hints: dict[str, None] = {}

    def add(self, place: str, what: str, hint: str = "") -> None:
        """Note one mistake.

        Args:
            place: Where in the file, such as "line 12".
            what: What is wrong there, in a few words.
            hint: What to do about it; each is told once.
        """
        self.count += 1
        if len(self._told) < MOST_TOLD:
            self._told.append(f"{place}: {what}")
            if hint:
                self._hints[hint] = None

    def refuse(self) -> None:
        """End with an error if there are any.

        Raises:
            DataError: It spells out the first ten.
        """
        if not self.count:
            return
        hint = " ".join(self._hints) or "Correct this, and run the command again."
        if self.count == 1:
            raise DataError(f"{self.where}, {self._told[0]}.", hint)
        lines = [f"{self.where} has {self.count:,} mistakes:", *(f"  {told}" for told in self._told)]
        if self.count > len(self._told):
            lines.append(f"  and {self.count - len(self._told):,} more")
        raise DataError("\n".join(lines), hint)


def unlike_a_label(name: str, value: object) -> tuple[str, str]:
    """What is wrong with a value that is neither text nor a whole number, and what to do about it, if anything."""
    if isinstance(value, list):
        return f"the {quoted(name)} is a list", "noah gives each image one label: choose one of those in the list."
    return f"the {quoted(name)} is neither text nor a whole number", ""


def quoted_path(text: str) -> str:
    """A path as part of a message, as `quoted` gives a text; of a long one, the end tells more than the beginning."""
    return quoted(text if len(text) <= _LONGEST else f"...{text[3 - _LONGEST :]}")


def quoted(text: str) -> str:
    """What a person wrote, as part of a message: on one line, not too long, and whatever it holds."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
    return short if short.isprintable() else ascii(short)[1:-1]
