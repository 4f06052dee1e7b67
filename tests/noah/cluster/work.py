"""Work for the machines of a cluster, in a module of its own, so that their processes load nothing but it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from noah.errors import DataError
from noah.progress import Listener


def add(first: int, second: int, listener: Listener) -> int:
    """The sum, told of in a line."""
    listener.say(f"sum       {first + second}")
    return first + second


def fail(listener: Listener) -> int:
    """Fail by an own error."""
    raise DataError("these images are wrong", "Look at them.")


def crash(listener: Listener) -> int:
    """End the process without a word."""
    os._exit(3)


def wait_for(path: str, counter: str, listener: Listener) -> str:
    """Note a start in `counter`, then wait until there is a file at `path`, and give what it holds."""
    with Path(counter).open("a") as file:
        file.write("started\n")
    while not Path(path).exists():
        time.sleep(0.05)
    return Path(path).read_text()
