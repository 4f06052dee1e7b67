"""A whole run of seconds, stage by stage in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from noah.prepare.context import Materials, prepare
from noah.progress import Detail, Listener, Silent
from noah.runs.folder import Run, create_run
from noah.runs.seals import FOLDER
from noah.settings.layers import Layer, resolve


class Recorder:
    """Keeps what it is told; as a bar it interrupts, as Ctrl-C does, once `stop_at` of the titled work is done."""

    def __init__(self, stop_at: Mapping[str, int] | None = None) -> None:
        self.stop_at = dict(stop_at or {})
        self.said: list[str] = []
        self.bars: dict[str, list[int]] = {}
        self._title = ""

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Recorder]:
        self._title = title
        self.bars[title] = []
        yield self

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self.bars[self._title].append(done)
        if done >= self.stop_at.get(self._title, float("inf")):
            raise KeyboardInterrupt


def make_materials(values: dict[str, Any], listener: Listener | None = None, *, tell_data: bool = False) -> Materials:
    settings, _ = resolve([Layer(source="test", values=values)])
    return prepare(settings, listener or Silent(), tell_data=tell_data)


def start_run(root: Path, materials: Materials, name: str = "first") -> Run:
    return create_run(
        root,
        materials.settings,
        {},
        dataset=materials.dataset.name,
        name=name,
        facts=materials.facts(),
        choices=materials.hardware.choices,
    )


def content(run: Run) -> dict[str, bytes]:
    """Every file of a run that does not hold the time or a random name."""
    return {
        str(path.relative_to(run.folder)): path.read_bytes()
        for path in sorted(run.folder.rglob("*"))
        if path.is_file()
        and path.name not in ("run.yaml", "log.jsonl", "journal.log", "study.json", "lock")
        and FOLDER not in path.parts  # the seals of those
    }
