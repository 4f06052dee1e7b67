"""Who receives the progress of a call from Python: nobody, the terminal or notebook, or a listener of the caller's."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from noah.console.listener import RichListener
from noah.hardware.processes import launched_processes
from noah.progress import Bar, Listener, Silent

Progress = bool | Listener
"""True prints what the commands print, on standard error or in the notebook; False prints nothing."""

_WARNING = re.compile(r"\w* *WARNING:? +(.*)", re.DOTALL)
"""A line that warns: at once, behind the label of its subject, or below such a line."""


def listener_for(progress: Progress) -> Listener:
    """Make the listener of one call."""
    if progress is True:
        from rich.console import Console

        quiet = not launched_processes().is_first
        return RichListener(Console(stderr=True, highlight=False, soft_wrap=False, quiet=quiet))
    return OnlyWarnings() if progress is False else progress


class OnlyWarnings:
    """A listener that turns what the commands print as a warning into a `UserWarning`, and ignores all else."""

    def say(self, text: str) -> None:
        """Warn if the line is a warning."""
        if found := _WARNING.match(text):
            warnings.warn(found[1].strip(), UserWarning, stacklevel=2)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Give a bar that ignores updates."""
        yield Silent()
