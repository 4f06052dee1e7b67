"""What workers of a cluster open, in a module of its own, so that their processes load nothing but it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from noah.errors import ArtifactError, DataError
from noah.progress import Listener


def open_adder(opened: Path, number: int) -> Callable[[int | str, Listener], int]:
    """Note that a worker opened something, and give what adds to a number; "kill" and "fail" do that instead."""
    with opened.open("a") as file:
        file.write(f"{os.getpid()}\n")

    def add(piece: int | str, listener: Listener) -> int:
        if piece == "kill":
            os._exit(3)
        if piece == "fail":
            raise DataError("this piece is wrong", "Look at it.")
        if piece == "break":
            raise ZeroDivisionError("by zero")
        with listener.bar("adding", 2, "steps") as bar:
            bar.update(1)
        return number + int(piece)

    return add


def refuse() -> Callable[[int, Listener], int]:
    raise ArtifactError("the model does not run here")


def die() -> Callable[[int, Listener], int]:
    os._exit(3)
