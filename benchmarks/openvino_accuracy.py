"""What OpenVINO costs in accuracy, in bf16 and in 8 bits, beside onnxruntime in 8 bits: all against float32.

    python -m benchmarks.openvino_accuracy measure [TASK ...] [--images 10000]
    python -m benchmarks.openvino_accuracy table

The networks are those of `benchmarks.int8`, and lora:6+bias on digits. `measure` writes each as `noah export` does, but
without its limits, and runs it on the test split and, where noah draws the dataset itself, on that many images more,
which no split has. One line for each goes to docs/openvino_accuracy.jsonl; it can be stopped and started again at any
time. Images whose class changes are counted in both directions: what is lost is their difference, and its error comes
from their sum.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.int8 import TASKS, Task, in_float32_at, trained
from export.artifact.metadata import write_metadata
from export.artifact.records import Precision
from export.convert.accuracy_loss import first_classes
from export.convert.int8 import quantize
from export.convert.int8_options import Int8Options
from export.convert.to_openvino import write_openvino
from export.formats.openvino import IR_FILE
from export.runtime.onnx_session import CPU, open_session
from export.runtime.openvino_model import open_openvino
from export.runtime.tensors import OpenModel
from noah.data.dataset import Dataset
from noah.data.sources.drawn.dsprites import CLASSES, load_dsprites_orientation
from noah.data.sources.drawn.rendered import RenderedSplit
from noah.data.sources.drawn.shapes_count import COUNTS, load_shapes_count
from noah.data.sources.drawn.sprites import IMAGES, ORIENTATIONS, sprite
from noah.files.jsonl import append_lines, read_lines
from noah.model.merge import MergedViT, merge
from noah.prepare.context import Materials, prepare
from noah.progress import Silent
from noah.runs.folder import Run
from noah.stages.retrain_stage import load_retrained

FILE = Path("docs/openvino_accuracy.jsonl")
NETWORKS: Mapping[str, Task] = {"digits": Task("digits", epochs=6), **TASKS}
FLOAT = "onnxruntime fp32"


def orientation(number: int) -> int:
    """The class of a sprite in rendered_dsprites_ori."""
    return sprite(number).orientation * CLASSES // len(ORIENTATIONS)


DRAWN: Mapping[str, tuple[Callable[[], Dataset], int, Callable[[int], int]]] = {
    "shapes_count": (load_shapes_count, 10**9, lambda number: number % len(COUNTS)),
    "rendered_dsprites_ori": (load_dsprites_orientation, IMAGES, orientation),
}
"""Of a dataset that noah draws: what loads it, how many images there are to be drawn, and the label of each."""


@dataclass(frozen=True)
class Compared:
    """What one way of running a network does to the classes that float32 gives.

    Attributes:
        images: How many there are.
        right: How many float32 gets right.
        lost: How many of these the way gets wrong.
        won: How many that float32 gets wrong the way gets right.
        changed: How many have another class.
    """

    images: int
    right: int
    lost: int
    won: int
    changed: int

    @property
    def points(self) -> float:
        """Percentage points of accuracy lost; negative if won."""
        return 100 * (self.lost - self.won) / self.images

    @property
    def error(self) -> float:
        """Half of the 95 % interval of the points lost, for images that change independently of each other."""
        return 100 * 1.96 * sqrt(self.lost + self.won - (self.lost - self.won) ** 2 / self.images) / self.images


def compare(found: np.ndarray, in_float32: np.ndarray, labels: np.ndarray) -> Compared:
    """Compare classes with those of float32, all int64 (n,)."""
    right, still = in_float32 == labels, found == labels
    counted = (np.ones_like(right), right, right & ~still, still & ~right, found != in_float32)
    return Compared(*(int(each.sum()) for each in counted))


def more_images(task: str, count: int) -> RenderedSplit:
    """Draw further images of a dataset that noah draws; none of them is in any of its splits."""
    load, end, label = DRAWN[task]
    dataset = load()
    splits = (dataset.train, dataset.validation, dataset.load_test())
    test = splits[-1]
    if not isinstance(test, RenderedSplit) or [label(n) for n in test.numbers.tolist()] != test.labels.tolist():
        raise ValueError(f"{task} is not drawn, or its labels are others")
    known = {split.name(index) for split in splits for index in range(len(split))}
    drawn = np.array([*dict.fromkeys(np.random.default_rng(2_607).integers(0, end, 2 * count).tolist())])
    every = replace(test, numbers=drawn, labels=np.array([label(number) for number in drawn.tolist()], np.int64))
    fresh = [index for index in range(len(every)) if every.name(index) not in known][:count]
    return replace(every, numbers=every.numbers[fresh], labels=every.labels[fresh])


def ways(network: MergedViT, materials: Materials, folder: Path) -> Iterator[tuple[str, OpenModel]]:
    """Write a merged network in each way, and give the way's name and the opened model; float32 comes first."""
    write = in_float32_at(materials)
    in_float32, in_8_bits, in_ir = folder / "float32.onnx", folder / "int8.onnx", folder / IR_FILE
    write(network, in_float32)
    write_metadata(in_float32, {})
    yield FLOAT, open_session(in_float32, provider=CPU, threads=1)
    options = Int8Options()
    quantize(network, write, in_8_bits, "int8", options, materials, Silent(), raw_pixels=False, symmetric=False)
    write_metadata(in_8_bits, {})  # in place of what the tools write there
    yield "onnxruntime int8", open_session(in_8_bits, provider=CPU, threads=1)
    written: tuple[tuple[Precision, Path], ...] = (("bf16", in_float32), ("int8", in_8_bits))
    for precision, graph in written:
        write_openvino(graph, in_ir, precision)
        yield f"openvino {precision}", open_openvino(in_ir, precision, threads=1)


def measure(name: str, run: Run, file: Path, count: int) -> None:
    """Run the network of a run in each way, and append a line for each way and set of images; nothing if they exist."""
    if any(line["task"] == name for line in read_lines(file)):
        return
    materials = prepare(run.settings(), Silent())
    model, subnet = load_retrained(run, materials)
    splits = {"test split": materials.dataset.load_test()}
    if name in DRAWN:
        splits["more images"] = more_images(name, count)
    pixels = {which: materials.pixels(split, "test", Silent()) for which, split in splits.items()}
    in_float32: dict[str, np.ndarray] = {}
    lines = []
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        for way, opened in ways(merge(model.cpu(), subnet), materials, Path(folder)):
            for which, images in pixels.items():
                found = first_classes(opened, images, materials, Silent(), way, raw_pixels=False)
                compared = compare(found, in_float32.setdefault(which, found), images.labels)
                lines.append({"task": name, "images of": which, "way": way, **asdict(compared)})
                print(json.dumps(lines[-1]), flush=True)
            del opened  # it holds the file that the next way writes again, which some systems then refuse
    append_lines(file, lines)


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Make a table with a row for each task and set of images: points lost in each way, with their 95 % interval."""
    by_row: dict[tuple[str, str], dict[str, Compared]] = {}
    for line in lines:
        compared = Compared(*(line[field.name] for field in fields(Compared)))
        by_row.setdefault((line["task"], line["images of"]), {})[line["way"]] = compared
    names = [way for way in next(iter(by_row.values()), {}) if way != FLOAT]
    head = ["task", "images", "fp32", *(f"{way}, {what}" for way in names for what in ("points lost", "same class"))]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for (task, which), found in by_row.items():
        first = found[FLOAT]
        row = [task, f"{first.images:,} of the {which}" if which == "test split" else f"{first.images:,} more"]
        row.append(f"{first.right / first.images:.2%}")
        for way in names:
            compared = found[way]
            row += [f"{compared.points:.2f} ± {compared.error:.2f}", f"{1 - compared.changed / compared.images:.1%}"]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    """Read the command line, and measure or show the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("measure", "table"))
    parser.add_argument("tasks", nargs="*", default=list(NETWORKS), metavar="TASK")
    parser.add_argument("--images", type=int, default=10_000, help="that are drawn beside the test split")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "noah-int8")
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.do == "measure":
        for name in arguments.tasks:
            measure(name, trained(NETWORKS[name], arguments.runs), arguments.file, arguments.images)
    print(table(list(read_lines(arguments.file))))


if __name__ == "__main__":
    main()
