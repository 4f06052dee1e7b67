"""`noah verify`: a whole run passes, and every kind of damage is found and told with the next step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.formats.load import load_predictor
from noah.errors import MissingPackageError, NoahError, NotHereError
from noah.hardware.gpu import why_no_gpu
from tests.commands import Outcome, file_contents, noah, write_settings
from tests.conftest import TinySettings
from tests.finished import ENGINES, FLOAT, UINT8, Finished

RUN = "shapes/first"


def change(path: Path, **values: Any) -> None:
    """Replace keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values, indent=1) + "\n")


def flip(path: Path, place: int = -1) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def lines(outcome: Outcome, label: str) -> list[str]:
    """The lines of a label, each with what goes on under it, in single spaces."""
    found: list[str] = []
    inside = False
    for line in outcome.out.splitlines():
        if not line.startswith(" " * 10):
            inside = line.startswith(label.ljust(10))
            found += [line[10:]] * inside
        elif inside:
            found[-1] += f" {line.strip()}"
    return found


def test_a_whole_run_passes(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.folder)
    before = file_contents(finished.folder)
    outcome = noah("verify")
    assert outcome.code == 0, outcome.out
    assert lines(outcome, "FAILED") == []
    assert lines(outcome, "not there") == []
    ok = "\n".join(lines(outcome, "ok"))
    seals = ("start", "supernet", "search", "retrain", "eval/test", f"eval/artifact/{FLOAT}", f"export/{FLOAT}")
    assert all(f"seal of {name}: SHA-256 of " in ok for name in seals)
    test = json.loads((finished.run / "eval" / "test.json").read_text())
    best = json.loads((finished.run / "search" / "best.json").read_text())
    # A race shows a subnet its images in other portions, which may round otherwise.
    assert f"accuracy of the winner: {best['correct']} of {best['total']} right again" in ok
    assert f"accuracy of the test: {test['correct']} of {test['total']} right again, exactly" in ok
    for name in (FLOAT, UINT8):
        assert f"artifact {name}: its files, weights, subnet and classes match the run" in ok
        assert f"accuracy of {name}: {test['correct']} of {test['total']} right again, exactly" in ok
    assert f"verified {len(lines(outcome, 'ok'))} ok, 0 failed, 0 not there to check" in outcome.words
    assert file_contents(finished.folder) == before


def test_artifacts_are_measured_again_as_they_were_and_with_the_threads_that_are_asked_for(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.checks import artifact_reproduction

    opened = []

    def load(path: Path, **options: Any) -> Any:
        opened.append(options)
        return load_predictor(path, **options)

    monkeypatch.chdir(finished.folder)
    monkeypatch.setattr(artifact_reproduction, "load_predictor", load)
    assert noah("verify", "--threads", 1).code == 0
    assert opened == [{"provider": "cpu", "threads": 1}] * 2


def test_a_quick_look_opens_no_image(project: Finished, photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noah.prepare.context.prepare", lambda *_, **__: pytest.fail("data and backbone were loaded"))
    outcome = noah("verify", RUN, "--quick")
    assert outcome.code == 0, outcome.out
    assert "--quick measured nothing again" in outcome.words
    assert "exactly" not in outcome.words


def test_a_torn_last_line_is_read_past_and_stays_where_it_is(project: Finished) -> None:
    candidates = project.run / "search" / "candidates.jsonl"
    candidates.write_bytes(candidates.read_bytes() + b'{"index": 9')
    before = file_contents(project.folder)
    outcome = noah("verify", "--quick")
    assert lines(outcome, "FAILED") == ["seal of search: search/candidates.jsonl was changed"]
    assert any(line.startswith("winner (search/best.json): number ") for line in lines(outcome, "ok"))
    assert file_contents(project.folder) == before


Damage = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("damage", "told", "following"),
    [
        (lambda run: flip(run / "supernet/checkpoint.safetensors"), "seal of supernet: supernet/checkpoint", "Restore"),
        (
            lambda run: flip(run / "retrain/checkpoint.safetensors"),
            "retrain/checkpoint.safetensors was",
            "noah retrain",
        ),
        (lambda run: (run / "search/candidates.jsonl").unlink(), "search/candidates.jsonl is missing", "Restore"),
        (lambda run: change(run / "search/best.json", accuracy=0.123), "search/best.json was changed", "Restore"),
        (lambda run: change(run / "eval/test.json", cross_entropy=9.0), "eval/test.json was", "noah eval --again"),
        (lambda run: flip(run / "run.yaml", 8), "run.yaml was changed", "Restore"),
        (lambda run: flip(run / "search/journal.log", 5), "search/journal.log was changed", "Restore"),
        (lambda run: flip(run / f"export/{FLOAT}/model.onnx"), f"seal of export/{FLOAT}", "noah export --format onnx"),
        (
            lambda run: change(run / f"export/{FLOAT}/manifest.json", dataset="x"),
            "manifest.json was",
            "noah export --format onnx --precision fp32",
        ),
        (lambda run: (run / "seals/search.json").write_text("[]"), "search.json is damaged", "Restore"),
        (
            lambda run: (run / "seals/search.json").write_text('{"files": {"../x": {"sha256": "", "bytes": 0}}}'),
            "names a file outside the run folder",
            "Restore",
        ),
    ],
)
def test_a_changed_file_is_found(project: Finished, damage: Damage, told: str, following: str) -> None:
    damage(project.run)
    outcome = noah("verify", "--quick")
    assert outcome.code == 1
    assert told in "\n".join(lines(outcome, "FAILED"))
    assert lines(outcome, "next")[0].startswith(following)


def reseal(run: Path, *names: str) -> None:
    """Seal files as they are now, as someone who knows how would."""
    from noah.runs.folder import Run
    from noah.runs.seals import read_seal, seals, set_seal

    for place in seals(Run(run)):
        files = [run / file.path for file in read_seal(Run(run), place)]
        if "/".join(place) in names:
            set_seal(Run(run), place, files)


def test_an_accuracy_that_the_weights_do_not_give_is_found(project: Finished) -> None:
    path = project.run / "eval" / "test.json"
    stored = json.loads(path.read_text())
    change(path, cross_entropy=stored["cross_entropy"] * 1.01)
    reseal(project.run, "eval/test")
    assert noah("verify", "--quick").code == 0
    outcome = noah("verify")
    assert outcome.code == 1
    (failed,) = lines(outcome, "FAILED")
    assert failed.startswith(
        f"accuracy of the test: It is not reproduced: stored {stored['correct']} of 18 right, found"
    )
    assert lines(outcome, "next") == [f"noah eval --again --run {RUN}"]


def test_other_weights_than_those_of_the_winner_are_found(project: Finished) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = project.run / "supernet" / "checkpoint.safetensors"
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        notes = file.metadata()
    tensors["weights/head.weight"] += 0.5 * tensors["weights/head.weight"].std()
    tensors["weights/head.bias"][0] += 1
    save_file(tensors, path, notes)
    reseal(project.run, "supernet")
    assert noah("verify", "--quick").code == 0
    outcome = noah("verify")
    assert outcome.code == 1
    (failed,) = lines(outcome, "FAILED")
    assert failed.startswith("accuracy of the winner: It is not reproduced")


@pytest.mark.parametrize(
    ("name", "values", "told"),
    [
        ("search", {"index": 1_000}, "holds the winner, number 1000, 0 times"),
        ("search", {"cross_entropy": 0.1}, "disagrees about the winner"),
        ("search", {"budget": {"parameters": 1}}, "parameters, and 1 are allowed"),
        ("retrain", {"losses": [0.1]}, "belongs to another training than the stored losses"),
        (
            "retrain",
            {"subnet": {"prompt": [0] * 6, "lora": [1] * 6, "adapter": [0] * 6}},
            "not the one that the run is",
        ),
        ("eval/test", {"correct": 3}, "Its accuracy does not match 3 of 18 right"),
        ("eval/test", {"correct": 0, "accuracy": 0.0}, "Its predictions, image by image, come from another test"),
    ],
)
def test_files_that_contradict_each_other_are_found(
    project: Finished, name: str, values: dict[str, Any], told: str
) -> None:
    file = {"search": "search/best.json", "retrain": "retrain/model.json", "eval/test": "eval/test.json"}[name]
    change(project.run / file, **values)
    reseal(project.run, name)
    outcome = noah("verify", "--quick")
    assert outcome.code == 1
    assert told in "\n".join(lines(outcome, "FAILED"))


def test_an_artifact_of_other_weights_is_found(project: Finished) -> None:
    shutil.rmtree(project.run / "eval")
    noah("retrain", "--restart")
    assert noah("verify", "--quick").code == 0  # the same seed gives the same weights
    settings = project.run / "retrain"
    for name in ("checkpoint.safetensors", "model.json", "settings.json"):
        (settings / name).unlink()
    text = (project.run / "run.yaml").read_text().replace("label_smoothing: 0.0", "label_smoothing: 0.1")
    (project.run / "run.yaml").write_text(text)
    reseal(project.run, "start")
    assert noah("retrain", "--restart").code == 0
    outcome = noah("verify", "--quick")
    assert outcome.code == 1
    assert f"artifact {FLOAT}: It was made from other weights than the run has now" in lines(outcome, "FAILED")[0]
    assert lines(outcome, "next") == [f"noah export --format onnx --precision fp32 --run {RUN}"]


def test_a_removed_artifact_is_told_and_fails_nothing(project: Finished) -> None:
    shutil.rmtree(project.artifact(UINT8))
    outcome = noah("verify", "--quick")
    assert outcome.code == 0
    assert f"seal of export/{UINT8}: it was removed" in lines(outcome, "not there")


def test_a_file_that_nobody_sealed_is_told(project: Finished) -> None:
    (project.run / "search" / "notes.txt").write_text("mine")
    outcome = noah("verify", "--quick")
    assert outcome.code == 0
    assert lines(outcome, "not there") == []
    assert lines(outcome, "note") == ["other files: no seal names search/notes.txt"]
    assert lines(outcome, "verified")[0].endswith(
        "0 failed, 0 not there to check, 1 note; --quick measured nothing again"
    )


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_an_engine_that_no_gpu_runs_is_measured_by_the_file_beside_it(engine_project: Finished) -> None:
    project = engine_project
    outcome = noah("verify")
    assert outcome.code == 0, outcome.out
    half, brain = (project.artifact(name).relative_to(project.folder) for name in ENGINES)
    assert [line for line in lines(outcome, "not there") if "it has not been measured" in line] == [
        f"accuracy of {brain.name}: it has not been measured, and {why_no_gpu()}",  # onnxruntime's CPU has no bf16
        f"accuracy of {half.name}: it has not been measured",
    ]
    assert lines(outcome, "next") == [f"noah eval {half}/model.onnx"]
    assert noah("eval", half / "model.onnx").code == 0
    again = noah("verify")
    assert any(line.startswith(f"accuracy of {half.name}.model.onnx: ") for line in lines(again, "ok"))
    path = project.run / "eval" / "artifact" / f"{half.name}.model.onnx.json"
    change(path, accuracy=2.0)
    broken = noah("verify", "--quick")
    assert any(line.startswith(f"seal of eval/artifact/{half.name}.model.onnx: ") for line in lines(broken, "FAILED"))
    assert lines(broken, "next") == [f"noah eval {half}/model.onnx --again"]
    assert noah("eval", half / "model.onnx", "--again").code == 0
    change(path, files={})
    reseal(project.run, f"eval/artifact/{half.name}.model.onnx")
    failed = lines(noah("verify", "--quick"), "FAILED")
    assert failed == [f"result of {half.name}.model.onnx: it belongs to another artifact of that name"]


@pytest.mark.parametrize("error", [NotHereError("another version built it"), MissingPackageError("no TensorRT")])
def test_an_engine_that_ran_elsewhere_is_not_there_to_check(
    engine_project: Finished, monkeypatch: pytest.MonkeyPatch, error: NoahError
) -> None:
    project = engine_project
    half = project.artifact(ENGINES[0])
    assert noah("eval", half / "model.onnx").code == 0
    kept = project.run / "eval"
    for folder in ("artifact", "predictions/artifact"):  # as a GPU would have left them
        (kept / folder / f"{half.name}.model.onnx.json").rename(kept / folder / f"{half.name}.json")
    (project.run / "seals" / "eval" / "artifact" / f"{half.name}.model.onnx.json").unlink()

    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("export.runtime.engine.open_engine", refuse)
    outcome = noah("verify")
    assert outcome.code == 0, outcome.out
    assert f"accuracy of {half.name}: {error.problem}" in lines(outcome, "not there")


def test_images_that_are_gone(project: Finished, tmp_path: Path, photo_folder: Path) -> None:
    path = project.run / "run.yaml"
    path.write_text(path.read_text().replace(str(photo_folder), str(tmp_path / "gone")))
    reseal(project.run, "start")
    outcome = noah("verify")
    assert outcome.code == 1
    assert lines(outcome, "FAILED") == [f"images and backbone: {tmp_path / 'gone'} does not exist"]


def test_a_run_at_every_stage(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(tmp_path, tiny_settings({"supernet.epochs": 1, "retrain.epochs": 1}))
    monkeypatch.chdir(tmp_path)
    assert noah("search", "--run", "first").code == 0
    run = tmp_path / "runs" / RUN
    outcome = noah("verify")
    assert outcome.code == 0
    assert lines(outcome, "next") == [f"noah retrain --run {RUN}"]
    assert "retrain: not there yet" in lines(outcome, "not there")
    assert "accuracy of the test: the test split was not measured" in lines(outcome, "not there")
    # Stopped in the middle of the search, and before the seal of the supernet.
    for name in ("search/best.json", "seals/search.json", "seals/supernet.json"):
        (run / name).unlink()
    outcome = noah("verify", "--quick")
    assert outcome.code == 0
    assert "search: begun and not finished" in lines(outcome, "not there")
    assert lines(outcome, "next") == [f"noah search --resume --run {RUN}"]
    assert noah("search", "--resume").code == 0
    outcome = noah("verify", "--quick")
    assert [line for line in lines(outcome, "ok") if "seal of s" in line] == [
        "seal of start: SHA-256 of 3 files as they were written",
        "seal of supernet: SHA-256 of 3 files as they were written",
        "seal of search: SHA-256 of 5 files as they were written",
    ]


def test_a_stop_right_before_a_seal_costs_nothing(project: Finished) -> None:
    for name in ("start", "search", "retrain"):
        (project.run / "seals" / f"{name}.json").unlink()
    assert "no seal was kept" in noah("verify", "--quick").words
    assert noah("search", "--resume").code == 0
    assert noah("retrain").code == 0
    outcome = noah("verify", "--quick")
    assert outcome.code == 0
    assert lines(outcome, "not there") == ["start: no seal was kept"]
    assert lines(outcome, "note") == ["other files: no seal names data/hashes.npy, images.json, run.yaml"]


def test_a_run_of_a_given_subnet(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    write_settings(tmp_path, tiny_settings({"retrain.epochs": 1}))
    monkeypatch.chdir(tmp_path)
    assert noah("retrain", "--subnet", "lora:2", "--name", "given").code == 0
    assert noah("eval").code == 0
    outcome = noah("verify")
    assert outcome.code == 0, outcome.out
    assert "search" not in "\n".join(lines(outcome, "not there"))
    assert "right again, exactly" in outcome.words


def test_what_contradicts_a_quick_look(project: Finished) -> None:
    outcome = noah("verify", "--quick", "--device", "cpu")
    assert outcome.code == 2
    assert outcome.error_lines[0] == "Error: --device has no effect with --quick, which computes nothing."
