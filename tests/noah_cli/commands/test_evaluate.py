"""`noah eval`: what it prints, what it keeps, and that a kept result is only shown for what it was measured on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from noah.api.evaluating import evaluation_layers
from noah.hardware.gpu import why_no_gpu
from noah.runs.folder import Run, open_run
from noah.settings.layers import resolve
from tests.commands import noah
from tests.finished import ENGINES, FLOAT, NAME, UINT8, Finished


def result_path(project: Finished, name: str) -> Path:
    """Where the result of the winner ("test") or of an artifact is kept."""
    folder = project.run / "eval" if name == "test" else project.run / "eval" / "artifact"
    return folder / f"{name}.json"


def stored(project: Finished, name: str) -> Any:
    return json.loads(result_path(project, name).read_text())


@pytest.mark.parametrize(
    ("command", "name", "what"),
    [("eval", "test", "the retrained winner"), ("eval artifact", FLOAT, f"the artifact {FLOAT}")],
)
def test_the_result_in_words(finished: Finished, command: str, name: str, what: str) -> None:
    words, result = finished.outcomes[command].words, stored(finished, name)
    assert f"test {result['accuracy']:.2%} ± {result['standard_error']:.2%} of 18 images right by {what}" in words
    assert f"cross-entropy {result['cross_entropy']:.4f}, calibration error {result['calibration_error']:.1%}" in words
    worst = min(result["class_accuracy"], key=result["class_accuracy"].get)
    assert f"hardest classes: {worst} {result['class_accuracy'][worst]:.1%}, " in words
    assert "top-5" not in words  # of three classes


def test_an_artifact_says_what_it_runs_on(finished: Finished) -> None:
    assert f"runs on {stored(finished, FLOAT)['provider']} (" in finished.outcomes["eval artifact"].words


@pytest.mark.parametrize(("arguments", "name"), [((), "test"), ((f"runs/shapes/first/export/{FLOAT}",), FLOAT)])
def test_a_measured_result_is_shown_again(project: Finished, arguments: tuple[str, ...], name: str) -> None:
    path = result_path(project, name)
    duplicates = {"checked": True, "exact": 2, "accuracy_without": 0.5}
    marked = stored(project, name) | {"accuracy": 0.123, "duplicates": duplicates}
    path.write_text(json.dumps(marked))
    outcome = noah("eval", *arguments)
    assert outcome.code == 0
    assert "was measured before; --again repeats it." in outcome.words
    assert "test 12.30% ±" in outcome.words
    assert "WARNING 2 of 18 test images are images that the network was trained or chosen on" in outcome.words
    assert noah("eval", *arguments, "--again").code == 0
    assert stored(project, name)["accuracy"] != 0.123


@pytest.mark.parametrize("arguments", [(), (f"runs/shapes/first/export/{FLOAT}",)])
def test_images_that_are_said_to_have_moved_are_looked_at_even_if_a_result_is_there(
    project: Finished, arguments: tuple[str, ...]
) -> None:
    missing = noah("eval", *arguments, "--data", "nowhere")
    assert missing.code != 0 and "nowhere" in missing.words
    images = project.folder / str(Run(project.run).settings().data.folder)
    shutil.copytree(images, project.folder / "other")
    next((project.folder / "other" / "train").glob("*/*")).unlink()
    other = noah("eval", *arguments, "--data", "other")
    told = " ".join(other.error_lines)
    assert other.code != 0 and "are not those that the run shapes/first was started with" in told
    moved = noah("eval", *arguments, "--data", images, "--device", "cpu")
    assert moved.code == 0 and "was measured before; --again repeats it, with these options." in moved.words


def test_options_that_a_stored_result_passes_over_are_told(project: Finished) -> None:
    assert "was measured before; --again repeats it, with these options." in noah("eval", "--device", "cpu").words


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((), ""),
        (("--run", "first"), " --run shapes/first"),
        (("--runs", "runs", "--run", "shapes/first"), " --run shapes/first"),
        (("--run", "./runs/shapes/first/"), " --run shapes/first"),
    ],
)
def test_the_next_line_names_the_run_where_it_was_chosen_by_name(
    project: Finished, arguments: tuple[str, ...], named: str
) -> None:
    assert noah("eval", "--again", *arguments).out.endswith(f"next      noah export --format onnx{named}\n")


def test_a_run_that_is_not_the_latest_is_named_however_it_was_found(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder.parent)
    folder = project.folder / "runs" / "shapes" / "first"
    outcome = noah("eval", "--again", "--run", folder)
    assert outcome.out.endswith(f"next      noah export --format onnx --run {folder}\n")


def test_measuring_again_brings_the_predictions_too(project: Finished) -> None:
    path = project.run / "eval" / "predictions" / "test.json"
    before = path.read_bytes()
    path.unlink()
    assert noah("eval").code == 0
    assert not path.exists()  # the result is there, so nothing is measured
    assert noah("eval", "--again").code == 0
    assert path.read_bytes() == before


def test_retraining_throws_results_and_predictions_away(project: Finished) -> None:
    assert noah("retrain", "--restart").code == 0
    assert not (project.run / "eval").exists()
    assert noah("eval").code == 0
    assert (project.run / "eval" / "predictions" / "test.json").is_file()


@pytest.mark.parametrize("spelling", ["runs/latest/export/{}", "{run}/export/{}", "{run}/export/{}/model.onnx"])
def test_an_artifact_has_one_result_however_its_path_is_spelled(project: Finished, spelling: str) -> None:
    shutil.rmtree(project.run / "eval")
    assert noah("eval", spelling.format(FLOAT, run=project.run)).code == 0
    assert [path.name for path in (project.run / "eval" / "artifact").iterdir()] == [f"{FLOAT}.json"]


def test_an_artifact_from_inside_its_folder(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(project.run / "eval")
    monkeypatch.chdir(project.artifact())
    assert noah("eval", ".", "--runs", project.folder / "runs").code == 0
    assert [path.name for path in (project.run / "eval" / "artifact").iterdir()] == [f"{FLOAT}.json"]


def test_another_artifact_of_the_same_name_is_measured_anew(project: Finished) -> None:
    shutil.rmtree(project.artifact())
    shutil.copytree(project.artifact(UINT8), project.artifact())
    outcome = noah("eval", project.artifact())
    assert outcome.code == 0
    assert "measured before" not in outcome.words
    assert stored(project, FLOAT)["files"] == stored(project, UINT8)["files"]


def test_a_missing_artifact_is_missing_though_it_was_measured_before(project: Finished) -> None:
    shutil.rmtree(project.artifact())
    outcome = noah("eval", project.artifact())
    assert outcome.code == 1
    assert outcome.error_lines[0] == f"Error: No artifact here: {project.artifact()} does not exist."
    assert outcome.error_lines[1].startswith("Name one that is there: ")
    assert f"runs/shapes/first/export/{UINT8}" in outcome.error_lines[1]


def test_a_result_that_is_damaged(project: Finished) -> None:
    (project.run / "eval" / "test.json").write_text("{")
    outcome = noah("eval")
    assert outcome.code == 1
    assert "eval/test.json is damaged" in outcome.error_lines[0]
    assert noah("eval", "--again").code == 0


def test_the_result_of_another_folder_of_runs_leads_on_there(project: Finished, tmp_path: Path) -> None:
    shutil.move(project.folder / "runs", project.folder / "all runs")
    outcome = noah("eval", "--again", "--runs", "all runs")
    assert outcome.out.endswith("next      noah export --format onnx --runs 'all runs'\n")


def test_an_artifact_is_measured_on_the_run_it_lies_in(project: Finished) -> None:
    """Not on the latest run, whose test split may hold what this one was trained on."""
    other = project.run.with_name("second")
    shutil.copytree(project.run, other)
    (project.folder / "runs" / "latest").write_text("shapes/second\n")
    shutil.rmtree(project.run / "eval")
    assert noah("eval", project.artifact()).code == 0
    assert result_path(project, FLOAT).is_file()


def test_an_artifact_named_test_leaves_the_winner_s_result_alone(project: Finished) -> None:
    before = result_path(project, "test").read_bytes()
    shutil.copytree(project.artifact(), project.run / "export" / "test")
    assert noah("eval", project.run / "export" / "test").code == 0
    assert result_path(project, "test").read_bytes() == before


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_an_engine_without_a_gpu_says_what_to_use_instead(engine_project: Finished) -> None:
    outcome = noah("eval", engine_project.artifact(ENGINES[0]))
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.endswith(f"model.engine is a TensorRT engine, which needs an NVIDIA GPU, but {why_no_gpu()}.")
    assert hint.endswith(f"noah export --format onnx --run {NAME}")


def test_an_artifact_runs_as_the_options_about_this_machine_say(project: Finished) -> None:
    outcome = noah("eval", project.artifact(), "--again", "--device", "cpu", "--threads", 1)
    assert outcome.code == 0, outcome.err
    assert "runs on CPUExecutionProvider (asked for; 1 thread, as asked for)" in outcome.words


def test_an_artifact_takes_no_precision(project: Finished) -> None:
    outcome = noah("eval", project.artifact(), "--precision", "bf16")
    assert outcome.code == 2
    assert outcome.error_lines[0].startswith("Error: --precision has no effect on an artifact")
    assert noah("eval", project.artifact(), "--precision", "auto").code == 0


def test_an_engine_is_not_measured_on_the_cpu(engine_project: Finished) -> None:
    outcome = noah("eval", engine_project.artifact(ENGINES[0]), "--device", "cpu")
    assert outcome.code == 2
    assert outcome.error_lines[0].endswith("model.engine does not run on the CPU.")


def test_the_onnx_file_beside_an_engine_has_a_result_of_its_own(engine_project: Finished) -> None:
    project = engine_project
    outcome = noah("eval", project.artifact(ENGINES[0]) / "model.onnx")
    assert outcome.code == 0, outcome.err
    assert "images right by the artifact trt-fp16.model.onnx" in outcome.words
    assert not result_path(project, ENGINES[0]).exists()
    assert stored(project, "trt-fp16.model.onnx")["correct"] == stored(project, "test")["correct"]


@pytest.fixture
def damaged(project: Finished, photo_folder: Path) -> Path:
    """A copy of the run's photos, of which one test image is damaged."""
    folder = Path(shutil.copytree(photo_folder, project.folder / photo_folder.name))
    broken = sorted((folder / "test").rglob("*.png"))[0]
    broken.write_bytes(b"no image")
    return folder


@pytest.mark.parametrize(
    ("arguments", "name"), [((), "test"), ((f"runs/shapes/first/export/{FLOAT}",), f"artifact/{FLOAT}")]
)
def test_damaged_test_images_can_be_left_out(
    project: Finished, damaged: Path, arguments: tuple[str, ...], name: str
) -> None:
    data = ("--data", damaged)
    refused = noah("eval", *arguments, *data, "--again")
    folder, last = (project.run / "eval" / name).parent, name.rpartition("/")[2]
    listed, left_out = folder / f"refused-{last}-damaged.csv", folder / f"{last}-damaged.csv"
    told = " ".join(refused.err.split())
    assert refused.code == 1 and "1 of 18 images cannot be read, which is 5.56 %" in refused.err
    assert "noah eval --damaged skip leaves out up to 10 %." in told
    assert f"All are listed in {listed.relative_to(project.folder)}." in told
    assert ",refused," in listed.read_text() and not left_out.exists()

    measured = noah("eval", *arguments, *data, "--again", "--damaged", "skip")
    assert measured.code == 0 and "not measured: 1 of 18 test images" in measured.words
    assert ",left out," in left_out.read_text() and not listed.exists()
    seal = json.loads((project.run / "seals" / "eval" / f"{name}.json").read_text())
    assert f"eval/{left_out.relative_to(project.run / 'eval').as_posix()}" in seal["files"]
    assert noah("eval", *arguments, "--again").code == 0
    assert not left_out.exists()


def test_what_was_left_out_of_a_test_is_left_out_when_it_is_verified(project: Finished, damaged: Path) -> None:
    data = ("--data", damaged)
    assert noah("eval", *data, "--again", "--damaged", "skip").code == 0
    verified = noah("verify", *data)
    assert "accuracy of the test" in verified.words and "of 17 right again" in verified.words
    assert noah("verify").code == 1  # with the image that was not measured, it is another test


@pytest.mark.parametrize(("kept", "expected"), [(None, None), (0.02, 0.1), (0.3, 0.3)])
def test_skip_never_allows_less_than_the_run_was_started_with(
    project: Finished, monkeypatch: pytest.MonkeyPatch, kept: float | None, expected: float | None
) -> None:
    run = open_run(Path("runs"), None)
    settings = run.settings()
    data = settings.data.model_copy(update={"damaged_share": kept})
    monkeypatch.setattr(type(run), "settings", lambda _: settings.model_copy(update={"data": data}))
    values, _ = resolve(evaluation_layers(run, damaged="skip"))
    assert (values.data.damaged, values.data.damaged_share) == ("skip", expected)
    assert evaluation_layers(run) == []


def test_images_of_another_dataset_that_were_trained_on_are_counted(project: Finished, photo_folder: Path) -> None:
    other = Path(shutil.copytree(photo_folder / "test", project.folder / "street"))
    known = sorted((photo_folder / "train").glob("*/*"))[:2]
    for image in known:
        shutil.copy(image, other / image.parent.name / f"known-{image.name}")
    outcome = noah("eval", "--on", other)
    assert "WARNING 2 of 20 test images are images that the network was trained or chosen on" in outcome.words
    result = json.loads((project.run / "eval" / "on" / "street.json").read_text())
    assert [Path(test).name for _, test in result["duplicates"]["images"]] == [f"known-{path.name}" for path in known]
    assert "WARNING 2 of 20 test images" in noah("eval", "--on", other).words  # the kept result
    copy = noah("eval", "--on", photo_folder / "train")  # somebody who names it wants to know
    count = len(list((photo_folder / "train").glob("*/*")))
    assert copy.code == 0 and f"WARNING {count} of {count} test images are images that the network" in copy.words


def test_damaged_images_of_another_dataset_can_be_left_out(project: Finished, damaged: Path) -> None:
    other = (damaged / "test").rename(project.folder / "other")
    refused = noah("eval", "--on", other)
    assert refused.code == 1 and "noah eval --damaged skip leaves out up to 10 %." in " ".join(refused.err.split())
    assert (project.run / "eval/on/refused-other-damaged.csv").is_file()
    assert noah("eval", "--on", other, "--damaged", "skip").code == 0
    assert sorted(path.name for path in (project.run / "eval/on").iterdir()) == ["other-damaged.csv", "other.json"]
