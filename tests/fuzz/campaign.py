"""Starts workers that read damaged files, ends those that hang, and counts how every input ended."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.commands import process_environment
from tests.fuzz.attacks import MARK
from tests.fuzz.readers import BACKBONE, READERS

LONGEST_SECONDS = 10.0
"""For one input; what takes longer hangs."""
_START_SECONDS = 120.0


@dataclass
class Count:
    """How the inputs of one reader ended."""

    read: int = 0
    refused: int = 0
    slowest: float = 0.0
    most_bytes: int = 0
    defects: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All inputs."""
        return self.read + self.refused + len(self.defects)


def run_campaign(
    project: Path, backbone: Path, work: Path, *, seed: int, share: float, readers: Sequence[str] = tuple(READERS)
) -> dict[str, Count]:
    """Let every reader read its inputs.

    Args:
        project: A working folder with a finished run, see `tests.finished`.
        backbone: The weights of its backbone.
        work: An empty folder.
        seed: Of the damage.
        share: Of the inputs of a long campaign; the attacks belong to a long one only.
        readers: Their names.
    """
    counts = {name: Count() for name in readers}
    waiting = list(readers)
    folder = work / "worker"
    while waiting:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(project, folder)
        shutil.copy(backbone, folder / BACKBONE)
        waiting = _run_worker(folder, waiting, counts, seed, share)
    return counts


def _run_worker(folder: Path, names: list[str], counts: dict[str, Count], seed: int, share: float) -> list[str]:
    """Start a worker and follow it; gives what is left to do where it ended early."""
    command = [sys.executable, "-m", "tests.fuzz.worker", str(seed), str(share), *names]
    environment = process_environment() | {MARK: str(folder / "mark")}
    with (folder / "stderr.txt").open("w") as errors:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    lines: queue.Queue[str | None] = queue.Queue()

    def follow() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=follow, daemon=True).start()
    now: dict[str, Any] | None = None
    allowed = _START_SECONDS
    while True:
        try:
            line = lines.get(timeout=allowed)
        except queue.Empty:
            process.kill()
            process.wait()
            if now is None:
                raise RuntimeError(f"the worker did not start: {(folder / 'stderr.txt').read_text()[-2000:]}") from None
            return _skip(names, counts, now, f"it hung for {allowed} s")
        if line is None:
            code = process.wait()
            if code == 0:
                return []
            tail = (folder / "stderr.txt").read_text()[-2000:]
            if now is None:
                raise RuntimeError(f"the worker ended with {code}: {tail}")
            return _skip(names, counts, now, f"the process ended with {code}: {tail}")
        message = json.loads(line)
        if "reader" in message:
            now, allowed = message, LONGEST_SECONDS + 5  # the worker measures; this only ends what never comes back
            continue
        assert now is not None
        _count(counts[now["reader"]], now, message)
        allowed = _START_SECONDS


def _count(count: Count, now: dict[str, Any], ended: dict[str, Any]) -> None:
    count.slowest = max(count.slowest, ended["seconds"])
    count.most_bytes = max(count.most_bytes, ended["bytes"])
    if ended["seconds"] > LONGEST_SECONDS:
        ended = {**ended, "ended": "defect", "account": f"it took {ended['seconds']:.1f} s"}
    if ended["ended"] == "defect":
        count.defects.append(f"{now['file']}, input {now['number']}: {ended['account']}")
    else:
        setattr(count, ended["ended"], getattr(count, ended["ended"]) + 1)


def _skip(names: list[str], counts: dict[str, Count], now: dict[str, Any], account: str) -> list[str]:
    """The readers that are left after an input that ended its worker."""
    counts[now["reader"]].defects.append(f"{now['file']}, input {now['number']}: {account}")
    place = next(place for place, name in enumerate(names) if name.partition("#")[0] == now["reader"])
    return [f"{now['reader']}#{now['number'] + 1}", *names[place + 1 :]]


def table(counts: dict[str, Count]) -> str:
    """The counts as a Markdown table."""
    rows = [
        f"| {name} | {count.total:,} | {count.read:,} | {count.refused:,} | {len(count.defects):,} | "
        f"{count.slowest:.2f} | {count.most_bytes / 2**20:,.0f} |"
        for name, count in counts.items()
    ]
    every = list(counts.values())
    total = (
        f"| **all** | {sum(c.total for c in every):,} | {sum(c.read for c in every):,} | "
        f"{sum(c.refused for c in every):,} | {sum(len(c.defects) for c in every):,} | "
        f"{max(c.slowest for c in every):.2f} | {max(c.most_bytes for c in every) / 2**20:,.0f} |"
    )
    heading = (
        "| reader | inputs | read | refused | defects | slowest, s | most memory, MiB |\n| --- " + "| ---: " * 6 + "|"
    )
    return "\n".join([heading, *rows, total])


def defects(counts: dict[str, Count]) -> str:
    """Every defect with its reader."""
    return "\n".join(f"{name}: {text}" for name, count in counts.items() for text in count.defects)


def seed_from_environment() -> int:
    """NOAH_FUZZ_SEED, or 0."""
    return int(os.environ.get("NOAH_FUZZ_SEED", "0"))
