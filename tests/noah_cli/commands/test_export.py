"""`noah export`: what it tells, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from noah.hardware.gpu import why_no_gpu
from tests.commands import noah
from tests.finished import ENGINES, FLOAT, UINT8, Finished


@pytest.mark.parametrize(("command", "name"), [("export", FLOAT), ("export uint8", UINT8)])
def test_it_tells_each_step_and_the_next_command(finished: Finished, command: str, name: str) -> None:
    outcome = finished.outcomes[command]
    assert "merging the modules into the backbone" in outcome.words
    assert "writing model.onnx, fp32, opset 20, batch axis free" in outcome.words
    for batch in ("batch 1:", "batch 2:", "batch 32:"):
        assert f"checking {batch} largest difference" in outcome.words
    folder = f"runs/shapes/first/export/{name}"
    size = sum(file.stat().st_size for file in finished.artifact(name).iterdir())
    assert f"written {folder}, {size / 2**20:.1f} MiB" in outcome.words
    # In one piece, longer than a line of 80 columns, so that it can be copied.
    assert outcome.out.splitlines()[-1] == f"next      noah predict {folder} IMAGES... --out predictions.csv"


@pytest.mark.parametrize(
    "options",
    [("--precision", "fp16"), ("--precision", "int8"), ("--input", "image"), ("--format", "openvino")],
)
def test_every_check_takes_the_threads_that_are_asked_for(
    project: Finished, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    for module in ("export.runtime.onnx_session", "export.runtime.openvino_model", "export.write.standalone"):
        monkeypatch.setattr(f"{module}.choose_threads", lambda: pytest.fail("threads were chosen"))
    outcome = noah("export", *options, "--threads", 2)
    assert outcome.code == 0, outcome.err
    if "openvino" in options:
        assert "computes in float32; 2 threads, as asked for" in outcome.words


def test_a_path_with_blanks_is_quoted_in_the_next_command(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(*_: object, **__: object) -> Path:
        return Path("all runs/shapes/first/export/onnx-fp32")

    monkeypatch.setattr("export.write.onnx_artifact.export_artifact", write)
    shutil.copytree(project.folder / "runs", project.folder / "all runs")
    outcome = noah("export", "--format", "onnx", "--runs", "all runs")
    assert "noah predict 'all runs/shapes/first/export/onnx-fp32' IMAGES..." in outcome.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--format", "onnx", "--opset", "17"), 2, "Error: --opset 17 is too old."),
        (("--precision", "bf16", "--opset", "21"), 2, "Error: --opset 21 is too old for bf16."),
        (("--format", "tflite"), 2, "'tflite'"),
        (("--precision", "int4"), 2, "'int4'"),
        (("--output", "top5"), 2, "'top5'"),
        (("--batch", "1:64:32"), 2, "Error: --batch 1:64:32 is not a smallest, usual and largest batch."),
        (("--target", "sm89"), 2, "Error: --target is for engines."),
        (("--format", "trt", "--target", "sm61"), 2, "Error: tensorrt-rtx does not support --target sm61."),
        (("--format", "trt", "--precision", "bf16", "--target", "sm75"), 2, "Error: sm75 does not support bf16."),
        (("--format", "onnx", "--input", "uint16"), 2, "'uint16'"),
        (("--calibration", "entropy"), 2, "Error: --calibration is for --precision int8, not fp32."),
        (("--precision", "int8-dynamic", "--calibration-images", "9"), 2, "Error: --calibration-images is for "),
        (
            ("--precision", "fp16", "--exclude-last-block"),
            2,
            "Error: --exclude-last-block is for --precision int8 and ",
        ),
        (("--precision", "int8", "--calibration", "guess"), 2, "'guess'"),
        (("--precision", "int8-dynamic", "--format", "trt"), 2, "Error: Engines do not support int8-dynamic: "),
        (("--for", "latency"), 2, "Error: --for is for --format auto, not onnx."),
        (("--format", "trt", "--lose-at-most", "1"), 2, "Error: --lose-at-most is for --format auto, not trt."),
        (("--format", "auto", "--for", "speed"), 2, "'speed'"),
        (("--format", "auto", "--precision", "int8"), 2, "Error: --precision has no effect with --format auto: "),
        (("--format", "auto", "--opset", "20"), 2, "Error: --opset has no effect with --format auto: "),
        (("--format", "auto", "--batch", "1:2:4"), 2, "Error: --batch 1:2:4 is not a number of images."),
        (("--format", "auto", "--batch", "0"), 2, "Error: --batch 0 is not a number of images."),
    ],
)
def test_what_is_refused(project: Finished, arguments: tuple[str, ...], code: int, message: str) -> None:
    outcome = noah("export", *arguments)
    assert outcome.code == code
    assert message in outcome.err


def test_a_damaged_result_of_the_test_is_told_before_the_work(project: Finished) -> None:
    path = project.run / "eval" / "test.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    del result["cross_entropy"]
    path.write_text(json.dumps(result), encoding="utf-8")
    outcome = noah("export", "--format", "onnx")
    assert outcome.code == 1
    assert "test.json is damaged: cross_entropy: field required." in outcome.error_lines[0]
    assert outcome.out == ""


def test_an_opset_that_the_exporter_does_not_know_is_an_error_in_two_lines(
    project: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = noah("export", "--format", "onnx", "--opset", "99")
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: ")
    assert hint == "Use another --opset, such as 20."
    # Outside of a test these would be printed, with a traceback of the exporter's.
    assert not [record for record in caplog.records if record.name.startswith("onnxscript")]
    assert project.artifact().exists()


def test_an_engine_tells_its_builder_its_precision_and_what_was_not_run(engines: Finished) -> None:
    outcome = engines.outcomes[ENGINES[0]]
    assert (outcome.code, outcome.err) == (0, "")
    words = outcome.words
    assert "precision fp16 (all targets support it; half the size of fp32, and closer to it than bf16)" in words
    assert "builder tensorrt-rtx " in words
    assert "(--target asks for engines built ahead of time)" in words
    assert "building model.engine for sm89, batches 1:4:20" in words
    assert "timing cache: none: tensorrt-rtx measures nothing while it builds" in words
    for batch in ("batch 1:", "batch 4:", "batch 20:"):
        assert words.count(f"checking {batch}") == 2  # simulated, and run


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_the_next_command_is_one_that_runs_here_or_is_told_to_need_a_gpu(engines: Finished) -> None:
    half, brain = (engines.outcomes[name].out.splitlines() for name in ENGINES)
    next_command = "next      noah predict runs/shapes/first/export/{} IMAGES... --out predictions.csv"
    assert half[-1] == next_command.format(f"{ENGINES[0]}/model.onnx")
    assert brain[-2:] == ["          It needs a GPU to run.", next_command.format(ENGINES[1])]


def test_a_precision_that_was_given_is_not_explained(engines: Finished) -> None:
    words = engines.outcomes[ENGINES[1]].words
    assert "precision fp16" not in words
    assert "writing model.onnx, bf16, opset 22, batch axis free" in words
    assert "The file itself is not run: Could not find an implementation for Conv(22)" in words
