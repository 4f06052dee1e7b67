"""The road: search, retrain, eval, export, eval of the artifact, predict, each as a real command."""

from __future__ import annotations

import csv
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from noah.version import __version__
from tests.conftest import PHOTO_CLASSES, PHOTO_COUNTS, TinySettings
from tests.finished import EPOCHS, FLOAT, UINT8, Finished


def read(finished: Finished, *parts: str) -> Any:
    return json.loads(finished.run.joinpath(*parts).read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def description(finished: Finished) -> Any:
    return yaml.safe_load((finished.run / "run.yaml").read_text(encoding="utf-8"))


def test_every_command_ends_well(finished: Finished) -> None:
    assert {name: (outcome.code, outcome.err) for name, outcome in finished.outcomes.items() if name != "predict"} == {
        name: (0, "") for name in finished.outcomes if name != "predict"
    }
    predict = finished.outcomes["predict"]
    assert (predict.code, predict.out) == (0, "")  # progress goes to standard error, results to the file
    assert "predicted 18 images" in predict.err


def test_each_command_names_the_next(finished: Finished) -> None:
    for name, following in (("search", "noah retrain"), ("retrain", "noah eval"), ("eval", "noah export")):
        assert finished.outcomes[name].out.splitlines()[-1].startswith(f"next      {following}")
    assert f"noah predict runs/shapes/first/export/{FLOAT} IMAGES..." in finished.outcomes["export"].words


def test_the_run_folder_is_as_drawn(finished: Finished) -> None:
    files = {str(path.relative_to(finished.folder / "runs")) for path in (finished.folder / "runs").rglob("*.*")}
    files = {file for file in files if (finished.folder / "runs" / file).is_file()}
    assert files == {
        f"shapes/first/{name}"
        for name in (
            "run.yaml",
            "images.json",
            "data/hashes.npy",
            "log.jsonl",
            "seals/start.json",
            "seals/supernet.json",
            "seals/search.json",
            "seals/retrain.json",
            "seals/eval/test.json",
            f"seals/eval/artifact/{FLOAT}.json",
            f"seals/eval/artifact/{UINT8}.json",
            f"seals/export/{FLOAT}.json",
            f"seals/export/{UINT8}.json",
            "supernet/checkpoint.safetensors",
            "supernet/losses.json",
            "search/study.json",
            "search/journal.log",
            "search/candidates.jsonl",
            "search/best.json",
            "retrain/settings.json",
            "retrain/subnet.json",
            "retrain/checkpoint.safetensors",
            "retrain/model.json",
            "eval/test.json",
            "eval/mistakes.json",
            "eval/predictions/test.json",
            f"eval/predictions/artifact/{FLOAT}.json",
            f"eval/predictions/artifact/{UINT8}.json",
            f"eval/artifact/{FLOAT}.json",
            f"eval/artifact/{UINT8}.json",
            f"export/{FLOAT}/model.onnx",
            f"export/{FLOAT}/manifest.json",
            f"export/{FLOAT}/model_card.md",
            f"export/{FLOAT}/predict.py",
            f"export/{FLOAT}/requirements.txt",
            f"export/{UINT8}/model.onnx",
            f"export/{UINT8}/manifest.json",
            f"export/{UINT8}/model_card.md",
            f"export/{UINT8}/predict.py",
            f"export/{UINT8}/requirements.txt",
        )
    }
    assert (finished.folder / "runs" / "latest").read_text() == "shapes/first\n"


def test_run_yaml_holds_settings_with_origins(
    finished: Finished, description: Any, tiny_settings: TinySettings, photo_folder: Path
) -> None:
    given = tiny_settings({"supernet.epochs": EPOCHS, "retrain.epochs": EPOCHS})
    for section, values in given.items():
        for key, value in values.items():
            assert description["settings"][section][key] == value
            assert description["origins"][f"{section}.{key}"] == "noah.yaml"
    assert description["settings"]["data"]["folder"] == str(photo_folder)
    assert description["origins"]["retrain.drop_path"] == "recipe auto"
    assert (description["settings"]["seed"], description["origins"]["seed"]) == (0, "default")


def test_run_yaml_holds_data_preprocessing_and_versions(description: Any, tiny_backbone_file: Path) -> None:
    assert description["classes"] == list(PHOTO_CLASSES)
    assert description["data"] | {"fingerprint": ""} == {
        "train": 3 * PHOTO_COUNTS["train"],
        "validation": 3 * PHOTO_COUNTS["val"],
        "fingerprint": "",
    }
    assert description["preprocessing"] == {
        "height": 32,
        "width": 32,
        "resize": "squash",
        "crop_fraction": 1.0,
        "interpolation": "bicubic",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    assert description["backbone"]["architecture"] == "test_vit"
    assert str(tiny_backbone_file) in description["backbone"]["source"]
    assert description["choices"] == []  # device, precision and threads are all given here
    versions = description["versions"]
    assert versions["noah"] == description["noah"] == __version__
    assert {name: versions[name] for name in ("torch", "timm", "numpy")} == {
        name: version(name) for name in ("torch", "timm", "numpy")
    }


def test_log_tells_the_stages_in_order(finished: Finished) -> None:
    events = [(line["stage"], line["event"]) for line in read_lines(finished.run / "log.jsonl")]
    assert events == [
        ("run", "created"),
        ("supernet", "started"),
        ("supernet", "finished"),
        ("search", "started"),
        ("search", "finished"),
        ("retrain", "started"),
        ("retrain", "finished"),
        ("eval", "finished"),
        ("export", "finished"),
        ("export", "finished"),
        ("eval", "finished"),
        ("eval", "finished"),
    ]


def test_best_is_the_best_of_the_candidates(finished: Finished) -> None:
    candidates = read_lines(finished.run / "search" / "candidates.jsonl")
    assert [candidate["index"] for candidate in candidates] == list(range(8))
    assert len({json.dumps(candidate["subnet"]) for candidate in candidates}) == 8
    assert max(candidate["parameters"] for candidate in candidates) <= 14_000
    best = min(candidates, key=lambda line: (-line["correct"], line["cross_entropy"], line["index"]))
    stored = read(finished, "search", "best.json")
    assert {name: stored[name] for name in best} == best
    assert stored["evaluated"] == 8
    assert read(finished, "retrain", "model.json")["subnet"] == best["subnet"]


def test_search_prints_the_winner(finished: Finished) -> None:
    stored, words = read(finished, "search", "best.json"), finished.outcomes["search"].words
    assert (
        f"winner subnet {stored['index']} ({stored['origin']}) of 8 evaluated, {stored['parameters']:,} parameters"
        in words
    )
    assert f"{stored['accuracy']:.1%} ± {stored['standard_error']:.1%} on 18 validation images" in words


def test_the_winner_was_retrained_on_everything_but_the_test_split(finished: Finished) -> None:
    model = read(finished, "retrain", "model.json")
    assert model["images"] == 3 * (PHOTO_COUNTS["train"] + PHOTO_COUNTS["val"])
    assert model["head_parameters"] == 3 * 64 + 3
    assert len(model["losses"]) == EPOCHS
    assert model["losses"][-1] < model["losses"][0]


def test_the_retrained_winner_learned_something(finished: Finished) -> None:
    result = read(finished, "eval", "test.json")
    assert result["total"] == 18
    assert result["accuracy"] > 1.5 / 3  # chance is a third


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_an_artifact_is_as_accurate_as_the_retrained_winner(finished: Finished, name: str) -> None:
    ours, artifact = read(finished, "eval", "test.json"), read(finished, "eval", "artifact", f"{name}.json")
    assert artifact["provider"].endswith("ExecutionProvider")
    for figure in ("correct", "total", "accuracy", "confusions", "class_accuracy"):
        assert artifact[figure] == ours[figure]
    assert artifact["cross_entropy"] == pytest.approx(ours["cross_entropy"], rel=1e-4)


def test_predictions_are_those_of_the_evaluation(finished: Finished) -> None:
    with (finished.folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    confusion = np.zeros((3, 3), int)
    for row in rows:
        confusion[PHOTO_CLASSES.index(Path(row["path"]).parent.name), PHOTO_CLASSES.index(row["label"])] += 1
    expected = [[*pair, count] for pair, count in np.ndenumerate(confusion) if count]
    assert read(finished, "eval", "artifact", f"{FLOAT}.json")["confusions"] == expected


def test_predictions_are_those_of_the_unmerged_torch_subnet(finished: Finished) -> None:
    import torch

    from noah.data.decode import open_image
    from noah.prepare.context import prepare
    from noah.progress import Silent
    from noah.runs.folder import Run
    from noah.stages.retrain_stage import load_retrained

    run = Run(finished.run)
    materials = prepare(run.settings(), Silent())
    model, subnet = load_retrained(run, materials)
    preprocessing = materials.backbone.preprocessing
    with (finished.folder / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    pixels = np.stack([preprocessing.pixels(open_image(row["path"])) for row in rows])
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(preprocessing.normalize(pixels)), subnet).softmax(dim=1).numpy()
    assert [row["label"] for row in rows] == [PHOTO_CLASSES[label] for label in probabilities.argmax(axis=1)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(probabilities.max(axis=1), abs=1e-5)
