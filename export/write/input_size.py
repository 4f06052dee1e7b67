"""Measures what it costs to export for images of another size than the search used, before anything is written."""

from __future__ import annotations

from export.artifact.records import ResizedRecord
from noah.evaluation.score import score
from noah.prepare.context import Materials
from noah.prepare.held_out import gate_images
from noah.progress import Listener
from noah.runs.folder import Run
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained


def measure_resized(run: Run, searched: Materials, resized: Materials, listener: Listener) -> ResizedRecord:
    """Measure the retrained winner at both sizes, on the images for gates (`noah.prepare.held_out`).

    LoRA and adapters do not depend on the number of patches, prompts stay the same tokens beside more or fewer patches,
    and the backbone's position embeddings are resampled from its own grid to the new one, as they were for the search.
    Only a measurement shows how much of the accuracy is left.

    Args:
        run: A run whose winner has been retrained.
        searched: Its dataset, and its backbone at the size of the search.
        resized: The same with the backbone at the size of the artifact.
        listener: Prints both accuracies.

    Raises:
        CommandOrderError: If the winner has not been retrained.
    """
    correct, total = zip(*(_measure(run, materials, listener) for materials in (resized, searched)), strict=True)
    _, images = gate_images(searched)
    height, width = searched.backbone.image_size
    asked = resized.backbone.preprocessing
    listener.say(
        f"accuracy  {correct[0] / total[0]:.2%} at {asked.width} x {asked.height} px and {correct[1] / total[1]:.2%} "
        f"at {width} x {height}, the size of the search, of {images}"
    )
    return ResizedRecord(
        searched_size=(height, width),
        images=images,
        total=total[0],
        correct=correct[0],
        correct_at_searched_size=correct[1],
    )


def _measure(run: Run, materials: Materials, listener: Listener) -> tuple[int, int]:
    """Count the images that are classified correctly, and all of them."""
    model, subnet = load_retrained(run, materials)
    pixels = materials.pixels(gate_images(materials)[0], "gate", listener)
    with listener.bar(f"evaluating at {materials.backbone.image_size[1]} px", len(pixels), "images") as bar:
        found = score(merged_logits(model, subnet, pixels, materials, bar), pixels.labels)
    return found.correct, found.total
