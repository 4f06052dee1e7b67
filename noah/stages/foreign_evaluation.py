"""The stage that tests the retrained winner on another dataset, as for domain generalization."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noah.data.sources.drawn.shifts import find_shift
from noah.data.sources.few_shot_sets import find_few_shot_set
from noah.data.sources.imagenet_labeled import ForeignSet, foreign_dataset, foreign_folder, foreign_variant
from noah.data.sources.imagenet_variants import find_variant, find_variant_folder
from noah.data.sources.registry import load_dataset
from noah.evaluation.score import describe, predicted_labels
from noah.prepare.common_images import TestImages
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.damaged_images import keep_damaged, refused_list
from noah.runs.folder import Run
from noah.runs.run_temperature import read_temperature
from noah.runs.seals import break_seal, result_place, seal_result
from noah.settings.settings import DataSettings, Settings
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained


def find_foreign(on: str, settings: Settings, classes: tuple[str, ...]) -> ForeignSet:
    """Find the images that the user means: a variant of ImageNet, a folder, a shift, or a named dataset.

    Args:
        on: The name or path that the user typed.
        settings: The settings of the run; named datasets are looked for in its data root.
        classes: The classes of the run.

    Raises:
        DatasetNotFoundError: If there is no dataset of that name or at that path.
        DataError: If it has classes that the run does not know, or something in it is wrong.
        MissingPackageError: If it is drawn in matplotlib's fonts, and matplotlib is not installed.
    """
    data_root = Path(settings.data.root)
    variant = find_variant(on)
    if variant and (find_variant_folder(variant, data_root) or not Path(on).is_dir()):
        return foreign_variant(variant, data_root, classes)
    if Path(on).is_dir():
        return foreign_folder(Path(on), classes)
    shift = find_shift(on)
    if shift is not None:
        return foreign_dataset(shift.load(), classes)
    own = settings.data
    named = DataSettings(
        dataset=on, root=own.root, validation_fraction=own.validation_fraction, test_fraction=own.test_fraction
    )
    if find_few_shot_set(on) is not None and own.shots:
        named = named.model_copy(update={"shots": own.shots, "list_seed": own.list_seed})
    return foreign_dataset(load_dataset(named, settings.seed, path_option="--on"), classes)


def evaluate_foreign(run: Run, materials: Materials, foreign: ForeignSet, listener: Listener) -> dict[str, Any]:
    """Evaluate the retrained winner on another dataset, among the classes that occur there.

    As is usual for ImageNet-A and -R, which have 200 of ImageNet's classes, the logits of all other classes are
    ignored, so the prediction is always one of the classes that are present.

    Returns:
        The content of eval/on/<name>.json.
    """
    model, subnet = load_retrained(run, materials)
    place = ("on", f"{foreign.name}.json")
    opened = materials.open_test(listener, foreign.split, foreign.name, listing=refused_list(run, *place))
    test = TestImages(run, materials, opened.split)
    pixels = materials.pixels(test.split, foreign.name, listener)
    present = np.array(foreign.present, np.int64)
    with listener.bar(f"evaluating on {foreign.name}", len(pixels), "images") as bar:
        logits = merged_logits(model, subnet, pixels, materials, bar)
    logits = np.ascontiguousarray(logits[:, present])
    labels = np.searchsorted(present, pixels.labels)
    temperature, _ = read_temperature(run)
    names = tuple(materials.dataset.classes[label] for label in foreign.present)
    result = {
        "split": foreign.name,
        "source": foreign.source,
        "classes_scored": len(present),
        "classes_of_run": len(materials.dataset.classes),
        "subnet": subnet.to_json(),
        "hardware": materials.hardware.to_json(),
        **opened.to_json(),
        **describe(logits, labels, names, None if temperature is None else temperature.value),
        "duplicates": test.compare(predicted_labels(logits) == labels, takes_copies=True),
    }
    break_seal(run, result_place(*place))
    keep_damaged(run, opened, *place)
    run.write_json(result, "eval", *place)
    seal_result(run, *place)
    run.log("eval", "finished", on=foreign.name, correct=result["correct"], total=result["total"])
    return result
