"""Work for the machines of a cluster, in a module of its own, so that their processes load nothing but it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from noah.cluster.together import Rank
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


def variables(rank: Rank) -> str:
    """What torchrun's variables say; the first process also tells a line and has something kept."""
    rank.listener.say("said      by the first")
    rank.keep(b"kept")
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    return " ".join(os.environ[name] for name in names)


def fail_if_last(rank: Rank) -> str:
    """Fail in the last of two processes, and wait for it in the first."""
    if os.environ["RANK"] == "1":
        raise DataError("these images are wrong", "Look at them.")
    time.sleep(600)
    return "never"


def crash_if_last(rank: Rank) -> str:
    """End the last of two processes without a word, and wait for it in the first."""
    if os.environ["RANK"] == "1":
        os._exit(3)
    time.sleep(600)
    return "never"
