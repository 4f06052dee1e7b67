"""A format is one value: what reads the registry learns of it nowhere else."""

from __future__ import annotations

import ast
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from export.artifact.manifest import Manifest, read_manifest, write_manifest
from export.artifact.model_card import model_card
from export.artifact.records import Precision
from export.formats.format import MERGED, Finding, Format, ModelFile, Opening
from export.formats.load import load_predictor
from export.formats.onnx import ONNX, ONNX_FILE
from export.formats.registry import FORMATS, find_format, format_of, model_files
from export.formats.runnable import runnables
from export.runtime.profile import ENGINE_PROFILE
from export.runtime.tensors import OpenModel
from noah.api.exporting import plan_export
from noah.errors import ArtifactError, MissingPackageError, UsageError
from noah_cli.commands import doctor
from noah_cli.report.export_options import export_options
from tests.commands import noah, run_python
from tests.export.tiny_artifact import CLASSES, HEIGHT, WIDTH, make_artifact

OPENED: list[Opening] = []


def _open(file: Path, manifest: Manifest, opening: Opening) -> OpenModel:
    OPENED.append(opening)
    return ONNX_FILE.open(file, manifest, opening)


def _missing(precision: Precision, target: str | None) -> None:
    if precision == "fp16":
        raise MissingPackageError("The scroll's ink is not installed.", "Type: pip install ink")


SCROLL = Format(
    name="scroll",
    help="a scroll, for a library",
    runtime="a reader",
    form="rolled up",
    usage=lambda manifest, folder: f"Unroll {folder.name}, all {len(manifest.classes)} classes.\n",
    write=lambda run, materials, listener, request: Path(f"written as {request.folder_name}"),
    precisions=("bf16", "fp16"),
    default="bf16",
    why_default="ink is scarce",
    options=frozenset(("--precision", "--batch")),
    why_fewer_options="a scroll has no settings",
    profile=ENGINE_PROFILE,
    prepare=_missing,
    models=(ModelFile(name="model.onnx", open=_open, why_not_here=lambda manifest: ""),),
    examine=lambda: iter([Finding("note", "scrolls cannot be read in the dark")]),
)
"""A format that only this test knows, whose file happens to be an ONNX file."""


@pytest.fixture
def scroll(monkeypatch: pytest.MonkeyPatch) -> Format:
    monkeypatch.setitem(FORMATS, "scroll", SCROLL)
    return SCROLL


@pytest.fixture
def folder(scroll: Format, tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "scroll-fp32", format="scroll")


def test_the_command_line_offers_it_and_tells_what_it_is(tmp_path: Path) -> None:
    program = """
import sys
from tests.export.formats.test_registry import SCROLL
from export.formats.registry import FORMATS
FORMATS["scroll"] = SCROLL
for name in [name for name in sys.modules if name.startswith("noah_cli")]:
    del sys.modules[name]
from noah_cli.command_reference import command_reference
from noah_cli.app import app
print(command_reference(app))
"""
    outcome = run_python(program, folder=tmp_path)
    (choices,) = (line for line in outcome.out.splitlines() if line.startswith("| `--format` `onnx"))
    assert "coreml\\|scroll\\|auto`" in choices and "scroll: a scroll, for a library; auto: " in choices
    assert "if not given, fp32, or fp16 for trt, or bf16 for scroll." in outcome.out
    assert "or 1:32:256 for scroll." in outcome.out


def test_an_export_is_planned_by_what_it_says(scroll: Format) -> None:
    planned = plan_export("scroll")
    assert (planned.format, planned.precision, planned.profile) == ("scroll", "bf16", ENGINE_PROFILE)
    assert planned.folder_name == "scroll-bf16"
    written: Any = SimpleNamespace()
    assert scroll.write(written, written, written, planned) == Path("written as scroll-bf16")
    with pytest.raises(UsageError, match=r"--opset has no effect with --format scroll: a scroll has no settings\.\n"):
        plan_export("scroll", opset=20)
    with pytest.raises(UsageError, match=r"--format scroll has no int8\.\nUse --precision bf16 or fp16\."):
        plan_export("scroll", precision="int8")
    with pytest.raises(MissingPackageError, match="pip install ink"):
        plan_export("scroll", precision="fp16")
    assert scroll.why_not() == ""
    assert scroll.why_not("fp16") == "The scroll's ink is not installed."


def test_values_that_are_no_choice_are_refused_together() -> None:
    with pytest.raises(UsageError) as error:
        plan_export("onnx", precision="fp8", input="jpeg", for_="speed")  # type: ignore[arg-type]  # what is refused
    refused = (("precision", "fp8"), ("input", "jpeg"), ("for_", "speed"))
    assert error.value.problem == " ".join(f"{name} is {value!r}, which is no choice." for name, value in refused)
    assert error.value.hint.endswith("input takes float, uint8, image. for_ takes latency, throughput.")


def test_its_artifact_is_opened_listed_and_described(folder: Path, scroll: Format) -> None:
    import numpy as np

    manifest = read_manifest(folder)
    assert format_of(manifest) is scroll
    predictor = load_predictor(folder, provider="cpu", threads=1)
    assert OPENED[-1] == Opening("cpu", 1)
    assert predictor.run(np.zeros((2, HEIGHT, WIDTH, 3), np.uint8)).shape == (2, len(CLASSES))
    (model,) = runnables(folder, manifest)
    assert (model.path, model.name, model.why_not_here) == (folder, "scroll-fp32", "")
    card = model_card(manifest, None, folder, form=scroll.form, usage=scroll.usage(manifest, folder))
    assert "rolled up. Trained on" in card
    assert f"Unroll scroll-fp32, all {len(CLASSES)} classes." in card
    options, unknown = export_options(manifest)
    assert (options[:2], unknown) == (["--format scroll", "--precision fp32"], [])


def test_doctor_tells_what_it_finds(scroll: Format) -> None:
    assert Finding("note", "scrolls cannot be read in the dark") in list(doctor._formats())


def test_an_unknown_format_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(FORMATS, "scroll")
    with pytest.raises(ArtifactError, match=r"of format 'scroll', which this noah does not know.*\nUpdate noah"):
        load_predictor(folder)
    with pytest.raises(ArtifactError, match="which this noah does not know"):
        runnables(folder, read_manifest(folder))
    with pytest.raises(UsageError, match=r"no format 'scroll'\.\nFormats: onnx, "):
        find_format("scroll")


def test_what_no_command_runs_says_what_does(tmp_path: Path) -> None:
    for name, how in {
        "triton": "tritonserver --model-repository",
        "safetensors": "noah.load\\(",
        "timm": "timm.create_model\\(",
    }.items():
        folder = make_artifact(tmp_path / name)
        write_manifest(read_manifest(folder).model_copy(update={"format": name}), folder)
        with pytest.raises(
            ArtifactError, match=f"of format {name}, which noah itself does not run.\nRun it with: {how}"
        ):
            load_predictor(folder)


@pytest.mark.parametrize("format_", FORMATS.values(), ids=list(FORMATS))
def test_every_format_says_all_that_is_asked(format_: Format, tmp_path: Path) -> None:
    assert format_.default in format_.precisions
    assert set(format_.precisions) <= set(get_args(Precision))
    assert format_.help and not format_.help.endswith(".")
    assert bool(format_.models) != bool(format_.next_step)  # noah runs it, or it says what does
    manifest = read_manifest(make_artifact(tmp_path / format_.name))
    usage = format_.usage(manifest, tmp_path / format_.name)
    assert usage.endswith("\n") and format_.name in usage and "    " in usage
    assert format_.form
    defaults = plan_export.__kwdefaults__
    options = {f"--{'no-' if default is True else ''}{name.replace('_', '-')}" for name, default in defaults.items()}
    assert format_.options <= options
    assert {field.name for field in fields(ONNX)} == {field.name for field in fields(format_)}


def test_every_model_file_belongs_to_one_way_of_opening() -> None:
    for format_ in FORMATS.values():
        for model in format_.models:
            assert model_files()[model.name] is model
    assert ONNX.form == MERGED


def test_reading_the_registry_loads_no_library() -> None:
    heavy = ("torch", "numpy", "onnx", "onnxruntime", "timm", "safetensors", "pydantic", "tensorrt_rtx")
    program = f"import export.formats.registry, sys; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(program, folder=Path.cwd()).out.strip() == "[]"


def test_the_command_line_refuses_what_is_not_there() -> None:
    outcome = noah("export", "--format", "scroll")
    assert outcome.code == 2
    assert "'scroll'" in outcome.err


@pytest.mark.parametrize("name", ["coreml", "pt2", "safetensors", "timm"])
@pytest.mark.parametrize("folder", ["runs/photos/first/export", 'runs/say "hi"/b\\c/export', "runs/鳥/export"])
def test_the_next_step_in_python_can_be_typed_whatever_the_folder_is_called(name: str, folder: str) -> None:
    following = find_format(name).next_step
    assert following is not None
    line = following(Path(folder)).removesuffix(" on a Mac")
    texts = [node.value for node in ast.walk(ast.parse(line)) if isinstance(node, ast.Constant)]
    assert folder in str(texts[0])
