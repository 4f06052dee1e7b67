"""What 8 bits cost on tasks of several kinds, as noah quantizes today and by min-max ranges alone.

    python -m benchmarks.int8 train [TASK ...]
    python -m benchmarks.int8 measure [TASK ...]
    python -m benchmarks.int8 table

`train` trains a subnet on its own for each task, on small images by the pocket recipe, in a folder of runs that is not
kept. The first two tasks have DINOv2's weights. The others have backbones of other families, whose weights cannot be
had without a download; they are trained here, from nothing, on the images of digits, which says something about how
their blocks are quantized but less about the outliers of activations that long training makes.

`measure` writes every network in 8 bits in both ways, compares them with float32 on the test split, and appends a line
for each to docs/int8.jsonl. Both can be stopped and started again at any time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import noah
from benchmarks.steps import best_precision
from export.convert.accuracy_loss import Int8Gate
from export.convert.int8 import quantize
from export.convert.int8_options import Int8Options
from export.convert.int8_writer import Int8Writer, Way, WriteFloat32
from export.convert.to_onnx import write_onnx
from noah.files.jsonl import append_line, read_lines
from noah.model.merge import MergedViT, merge
from noah.prepare.context import Materials, prepare
from noah.prepare.held_out import gate_images
from noah.progress import Silent
from noah.runs.folder import Run
from noah.stages.retrain_stage import load_retrained

FILE = Path("docs/int8.jsonl")


@dataclass(frozen=True)
class Task:
    """A dataset, the subnet that is trained on it, and how long.

    Attributes:
        dataset: Its name.
        architecture: timm's name of a backbone that is trained here; None for DINOv2's ViT-S/14.
        subnet: As one types it.
        epochs: Of its training.
        side: Of the images in pixels.
    """

    dataset: str
    architecture: str | None = None
    subnet: str = "lora:6+bias"
    epochs: int = 15
    side: int = 56


TASKS: Mapping[str, Task] = {
    "shapes_count": Task("shapes_count"),
    "rendered_dsprites_ori": Task("rendered_dsprites_ori", epochs=10),
    "digits, EVA-02": Task("digits", "eva02_tiny_patch14_224", "lora:8", 3),
    "digits, DeiT distilled": Task("digits", "deit_tiny_distilled_patch16_224", "lora:8", 3, side=48),
}


def main() -> None:
    """Read the command line, and train, measure, or show the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("train", "measure", "table"))
    parser.add_argument("tasks", nargs="*", default=list(TASKS), metavar="TASK")
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "noah-int8")
    parser.add_argument("--file", type=Path, default=FILE)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.do == "table":
        print(table(read_lines(arguments.file)))
        return
    for name in arguments.tasks:
        run = trained(TASKS[name], arguments.runs)
        if arguments.do == "measure":
            measure(name, run, arguments.file)


def trained(task: Task, runs: Path) -> Run:
    """Give the run of a task, which is trained now unless it has been."""
    name = task.architecture or "dinov2"
    folder = runs / task.dataset / name
    if (folder / "run.yaml").is_file():
        noah.open_run(str(folder)).retrain(resume=True)
        return Run(folder)
    backbone: dict[str, Any] = {"image_size": task.side}
    if task.architecture is not None:
        backbone |= {"name": str(weights_of(task.architecture, task.side, runs)), "architecture": task.architecture}
    settings = {
        "backbone": backbone,
        "retrain": {"epochs": task.epochs},
        "hardware": {"threads": 1, "precision": best_precision(torch.device("cpu"))},
    }
    noah.retrain(task.subnet, dataset=task.dataset, recipe="pocket", name=name, runs=runs, settings=settings)
    return Run(folder)


def weights_of(architecture: str, side: int, runs: Path, epochs: int = 5) -> Path:
    """Train a backbone from nothing on the training images of digits, and give the file of its weights."""
    file = runs / f"{architecture}.safetensors"
    if file.is_file():
        return file
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    network: nn.Module = timm.create_model(architecture, num_classes=10, img_size=side)
    digits = load_digits()
    images = torch.from_numpy(digits.images[:1000]).float()[:, None] / 8 - 1
    labels = torch.from_numpy(digits.target[:1000])
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-4, weight_decay=0.05)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(50):
            large = F.interpolate(images[batch], side, mode="bilinear").expand(-1, 3, -1, -1)
            F.cross_entropy(network(large), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file)
    return file


def measure(name: str, run: Run, file: Path) -> None:
    """Quantize the network of a run in each way that the file has no line of, and compare on the test split."""
    done = {(line["task"], line["way"]) for line in read_lines(file)}
    missing = [way for way in WAYS if (name, way) not in done]
    if not missing:
        return
    materials = prepare(run.settings(), Silent())
    model, subnet = load_retrained(run, materials)
    network, write = merge(model.cpu(), subnet), in_float32_at(materials)
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        in_float32, in_8_bits = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        write(network, in_float32)
        test = materials.pixels(materials.dataset.load_test(), "test", Silent())
        gate = Int8Gate(in_float32, test, "test images", materials.evaluation_batch_size, Silent(), raw_pixels=False)
        for way in missing:
            record = WAYS[way](network, write, in_8_bits, materials)
            loss = gate.measure(in_8_bits)
            in_8_bits.unlink()
            line = {
                "task": name,
                "way": way,
                "images": loss.total,
                "correct": loss.correct,
                "correct_in_float32": loss.correct_in_float32,
                "agreeing": loss.agreeing,
                "divergence": round(loss.divergence, 6),
                "chosen": record,
            }
            append_line(file, line)
            print(json.dumps(line), flush=True)


def in_float32_at(materials: Materials) -> WriteFloat32:
    """What writes a network in float32 for normalized images of the run's size."""
    preprocessing = materials.backbone.preprocessing
    return partial(write_onnx, height=preprocessing.height, width=preprocessing.width, raw_pixels=False)


def min_max_alone(network: MergedViT, write: WriteFloat32, file: Path, materials: Materials) -> dict[str, Any]:
    """Quantize all blocks by the range of the values seen, as earlier versions did, whatever it costs."""
    way = Way(smoothed=False, calibration="minmax")
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        writer = Int8Writer(
            network,
            write,
            Path(folder),
            file.name,
            "int8",
            Int8Options(),
            materials,
            Silent(),
            raw_pixels=False,
            symmetric=False,
        )
        split, images = gate_images(materials)
        pixels = materials.pixels(split, "gate", Silent())
        gate = Int8Gate(writer.float32, pixels, images, materials.evaluation_batch_size, Silent(), raw_pixels=False)
        quantized = writer.quantized(way)
        shutil.move(quantized, file)
        return {"how": str(way), "accepted": gate.measure(file).is_allowed}


def as_noah_chooses(network: MergedViT, write: WriteFloat32, file: Path, materials: Materials) -> dict[str, Any]:
    """Quantize as `noah export --precision int8` does."""
    record = quantize(
        network, write, file, "int8", Int8Options(), materials, Silent(), raw_pixels=False, symmetric=False
    )
    return {
        "accepted": True,
        "products": record.products,
        "float_blocks": record.float_blocks,
        "smoothed": record.smoothed,
        "ranges": record.ranges,
        "tried": [each.model_dump() for each in record.tried],
    }


WAYS: Mapping[str, Callable[[MergedViT, WriteFloat32, Path, Materials], dict[str, Any]]] = {
    "min-max alone": min_max_alone,
    "as noah chooses": as_noah_chooses,
}


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Make a table with a row for each task: the points lost on the test split and the divergence in both ways."""
    by_task: dict[str, dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        by_task.setdefault(line["task"], {})[line["way"]] = line
    head = ["task", "fp32", *(f"{what}, {way}" for way in WAYS for what in ("points lost", "same class", "divergence"))]
    rows = [head, ["---", *["---:"] * (len(head) - 1)]]
    for task, ways in by_task.items():
        first = next(iter(ways.values()))
        row = [task, f"{first['correct_in_float32'] / first['images']:.2%}"]
        for way in WAYS:
            found = ways.get(way)
            if found is None:
                row += [""] * 3
                continue
            lost = 100 * (found["correct_in_float32"] - found["correct"]) / found["images"]
            row += [f"{lost:.2f}", f"{found['agreeing'] / found['images']:.1%}", f"{found['divergence']:.4f}"]
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
