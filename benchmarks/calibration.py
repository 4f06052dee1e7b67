"""What a temperature fitted on held-out images does for the probabilities of test images.

    python -m benchmarks.calibration measure --seeds 0,1
    python -m benchmarks.calibration table

`measure` trains a subnet on each task in the cheap setting of `benchmarks.pool` (56 px, 500 images, 15 epochs), of
which `retrain.hold_out` leaves out a fifth, fits the temperature on these as `noah retrain` does, and tests with it and
without. It can be stopped and started again at any time; docs/calibration holds a line for each task and seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.pool import materials_of, train_subnet, with_retrain
from noah.evaluation.score import describe, predicted_labels
from noah.evaluation.temperature import at_temperature
from noah.files.jsonl import append_line, read_lines
from noah.prepare.held_out import final_images
from noah.progress import Silent
from noah.runs.subnet_text import parse_subnet
from noah.stages.fitted_temperature import fitted_temperature
from noah.stages.merged_logits import merged_logits

TASKS = (
    "digits",
    "rendered_dsprites_loc",
    "rendered_dsprites_ori",
    "shapes_count",
    "shapes_largest",
    "rendered_letters",
)
MODULES = "lora:8"
HELD_OUT = 0.2
"""The share of the 500 images that is held out: a hundred."""
FOLDER = Path("docs/calibration")


def measure(path: Path, task: str, seed: int, logits_folder: Path | None = None) -> None:
    """Train on a task, fit the temperature and test, unless the file holds it already.

    Args:
        path: The file with a line for each task and seed.
        task: The task.
        seed: Its seed.
        logits_folder: Where to keep logits and labels of held-out and test images, so that other ways of fitting can be
            compared without training again; None keeps none.
    """
    if any((record["task"], record["seed"]) == (task, seed) for record in read_lines(path)):
        return
    materials = materials_of(task, seed)
    materials = with_retrain(materials, {"hold_out": HELD_OUT})
    subnet = parse_subnet(MODULES, depth=materials.space.blocks)
    model, _ = train_subnet(subnet, 0, materials, final_images(materials).training)
    fitted, why_none = fitted_temperature(model.eval(), subnet, materials, Silent())
    assert fitted is not None, why_none
    pixels = materials.pixels(materials.dataset.load_test(), "test", Silent())
    logits = merged_logits(model, subnet, pixels, materials)
    tested = describe(logits, pixels.labels, materials.dataset.classes, fitted.value)
    if logits_folder is not None:
        held = final_images(materials).held_out
        assert held is not None, task
        held_pixels = materials.pixels(held.both, "held-out", Silent())
        logits_folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            logits_folder / f"{task}-seed{seed}.npz",
            held_logits=merged_logits(model, subnet, held_pixels, materials),
            held_labels=held_pixels.labels,
            test_logits=logits,
            test_labels=pixels.labels,
        )
    changed = predicted_labels(logits) != predicted_labels(at_temperature(logits, fitted.value))
    record = {
        "task": task,
        "seed": seed,
        "modules": MODULES,
        "fitted": fitted.to_json(),
        "images": tested["total"],
        "accuracy": tested["accuracy"],
        "predictions_changed": int(changed.sum()),
        "cross_entropy": tested["cross_entropy"],
        "calibration_error": tested["calibration_error"],
        "calibrated": tested["calibrated"],
    }
    append_line(path, record)
    print(task, seed, record, flush=True)


def table(path: Path) -> str:
    """Make a table: a row for each task, means over its seeds, and one for the mean over the tasks."""
    rows: dict[str, list[list[float]]] = {}
    for record in read_lines(path):
        after = record["calibrated"]
        rows.setdefault(record["task"], []).append(
            [
                100 * record["accuracy"],
                record["predictions_changed"],
                after["temperature"],
                100 * record["calibration_error"],
                100 * after["calibration_error"],
                record["cross_entropy"],
                after["cross_entropy"],
            ]
        )
    means = {task: np.mean(values, axis=0) for task, values in rows.items()}
    lines = [
        "| task | seeds | accuracy | predictions changed | temperature | calibration error | with temperature "
        "| cross-entropy | with temperature |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for task, mean in [*means.items(), ("mean", np.mean(list(means.values()), axis=0))]:
        accuracy, changed, value, before, after, loss, cooled = mean
        seeds = len(rows.get(task, ()))
        lines.append(
            f"| {task} | {seeds or ''} | {accuracy:.1f} % | {changed:g} | {value:.2f} | {before:.1f} % | {after:.1f} % "
            f"| {loss:.3f} | {cooled:.3f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, or show what is there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("measure", "table"))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--logits", type=Path, help="also keep logits and labels in this folder")
    chosen = parser.parse_args(arguments)
    path = chosen.folder / "tests.jsonl"
    if chosen.do == "measure":
        for seed in chosen.seeds.split(","):
            for task in chosen.tasks.split(","):
                measure(path, task, int(seed), chosen.logits)
    print(table(path))


if __name__ == "__main__":
    main()
