"""`noah export --format auto`: which candidate is taken, and that no spoiled one ever is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

import noah as noah_package
from export.artifact.manifest import Manifest, check_files, file_record, read_manifest, write_manifest
from export.artifact.records import ChoiceRecord, Precision
from export.checks import bench, fastest
from export.checks.fastest import find_close
from export.formats.load import load_predictor
from export.formats.registry import FORMATS
from export.write.request import Request
from noah.errors import ExportError, MissingPackageError, ParityError
from noah.hardware.gpu import why_no_gpu
from noah.prepare.context import prepare
from noah.progress import Silent
from noah.runs.folder import Run
from noah.runs.seals import artifact_place, read_seal
from tests.commands import noah
from tests.finished import FLOAT, UINT8, Finished

ROUNDS = 24
PRECISIONS: dict[str, tuple[Precision, ...]] = {"onnx": ("fp32", "int8-dynamic"), "openvino": ("fp32",)}
Spoil = Callable[[Path], None]


@given(
    factor=st.floats(1.05, 4.0),
    close=st.floats(1.0, 1.009),
    drift=st.lists(st.floats(0.5, 2.0), min_size=ROUNDS, max_size=ROUNDS),
)
def test_what_slows_all_alike_hides_no_difference_and_makes_none(
    factor: float, close: float, drift: list[float]
) -> None:
    base = np.array(drift)
    found = find_close({"slow": factor * base, "fast": base, "near": close * base})
    assert found == ("fast", {"fast", "near"})


def test_noise_is_told_from_a_difference() -> None:
    noise = np.random.default_rng(0).normal(1, 0.2, (2, 400)).clip(0.2)
    name, close = find_close({"one": noise[0], "other": 1.02 * noise[1], "slower": 1.3 * noise[1]})
    assert close == {"one", "other"} and name in close


def test_a_single_round_tells_nothing_apart() -> None:
    assert find_close({"one": np.array([1.0]), "other": np.array([1.005])})[1] == {"one", "other"}


@pytest.fixture(scope="module")
def written(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The candidates of `two_formats`, each written once."""
    run, folder = Run(finished.copy(tmp_path_factory.mktemp("written")).run), tmp_path_factory.mktemp("candidates")
    materials = prepare(run.settings(), Silent())
    for name, precisions in PRECISIONS.items():
        for precision in precisions:
            FORMATS[name].write(run, materials, Silent(), Request(format=name, precision=precision, within=folder))
    return folder


@pytest.fixture
def two_formats(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Just `PRECISIONS` in place of every format and precision; writing a candidate takes one that was written."""

    def write(run: Run, materials: object, listener: object, request: Request) -> Path:
        assert request.within is not None and request.within.parent == run.path("export")
        return Path(shutil.copytree(written / request.folder_name, request.within / request.folder_name))

    for name, format_ in list(FORMATS.items()):
        if name in PRECISIONS:
            monkeypatch.setitem(FORMATS, name, replace(format_, precisions=PRECISIONS[name], write=write))
        else:
            monkeypatch.delitem(FORMATS, name)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that each contender is told to take, by its name; those that are not named take one."""
    told: dict[str, float] = {"onnx-fp32": 1.0, "openvino-fp32": 0.5, "onnx-int8-dynamic": 0.25}

    def in_turns(contenders: Any, batches: Any, seconds: float, listener: object) -> Any:
        rounds = {one.name: np.full(ROUNDS, told.get(one.name, 1.0)) for one in contenders}
        for one in contenders:
            assert one.model.run(bench._images(one, batches[0])).shape[0] == batches[0]
        return [
            bench.Measurement(
                one,
                (bench.summarize(rounds[one.name], batches[0]),),
                (bench.speedup(rounds[one.name], rounds[one.reference]),) if one.reference else (),
                (rounds[one.name],),
            )
            for one in contenders
        ]

    monkeypatch.setattr(bench, "_measure", in_turns)
    return told


@pytest.fixture
def spoiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Spoil]]:
    """What happens to a candidate, by its name, between its writing and the gate."""
    spoils: dict[str, Spoil] = {}
    open_ = fastest.Gate.open

    def spoil_and_open(gate: fastest.Gate, folder: Path, request: Any) -> Any:
        if folder.name in spoils:
            spoils.pop(folder.name)(folder)
        return open_(gate, folder, request)

    monkeypatch.setattr(fastest.Gate, "open", spoil_and_open)
    yield spoils
    assert not spoils  # each was applied


def choice_of(project: Finished, name: str) -> ChoiceRecord:
    choice = read_manifest(project.artifact(name)).choice
    assert choice is not None
    return choice


def manifest_told_the_truth(folder: Path, **changes: Any) -> None:
    """As a fault while writing would have it: what the manifest says of the files is right."""
    manifest: Manifest = read_manifest(folder)
    files = {name: file_record(folder / name) for name in manifest.files}
    write_manifest(manifest.model_copy(update={"files": files, **changes}), folder)


def change_head(folder: Path) -> None:
    """Swap the rows of two classes in the head."""
    model = onnx.load(folder / "model.onnx")
    swapped = 0
    for tensor in model.graph.initializer:
        value = np.array(numpy_helper.to_array(tensor))
        if value.dtype == np.float32 and value.shape in ((3, 64), (64, 3), (3,)):
            axis = value.shape.index(3)
            tensor.CopyFrom(numpy_helper.from_array(np.take(value, [2, 1, 0], axis), tensor.name))
            swapped += 1
    assert swapped
    onnx.save(model, folder / "model.onnx")
    manifest_told_the_truth(folder)


def change_a_weight_unnoticed(folder: Path) -> None:
    content = bytearray((folder / "model.bin").read_bytes())
    content[len(content) // 2] ^= 0x40
    (folder / "model.bin").write_bytes(content)


def change_weights(folder: Path) -> None:
    """Half as much again of all numbers that are no shapes or axes."""
    content = np.frombuffer((folder / "model.bin").read_bytes(), np.float32).copy()
    content[(np.abs(content) > 1e-3) & (np.abs(content) < 10)] *= 1.5
    (folder / "model.bin").write_bytes(content.tobytes())
    manifest_told_the_truth(folder)


def swap_labels(folder: Path) -> None:
    first, second, *others = read_manifest(folder).classes
    manifest_told_the_truth(folder, classes=(second, first, *others))


def swap_labels_everywhere(folder: Path) -> None:
    first, second, *others = read_manifest(folder).classes
    text = (folder / "model.xml").read_text(encoding="utf-8")
    changed = text.replace(first, "@@").replace(second, first).replace("@@", second)
    assert changed != text
    (folder / "model.xml").write_text(changed, encoding="utf-8")
    manifest_told_the_truth(folder, classes=(second, first, *others))


def test_the_fastest_that_passes_is_kept_alone_with_the_story_of_all(
    project: Finished, two_formats: None, times: dict[str, float], spoiled: dict[str, Spoil]
) -> None:
    spoiled["onnx-int8-dynamic"] = change_head
    run = Run(project.run)
    outcome = noah("export", "--format", "auto", "--for", "throughput", "--batch", "4", "--threads", "1")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8, "openvino-fp32"]
    folder = project.artifact("openvino-fp32")
    manifest, choice = read_manifest(folder), choice_of(project, "openvino-fp32")
    check_files(manifest, folder)
    assert {Path(file.path).name for file in read_seal(run, artifact_place(folder.name))} == {
        "model.xml",
        "model.bin",
        "manifest.json",
    }
    assert (choice.purpose, choice.batch, choice.lose_at_most, choice.threads) == ("throughput", 4, 0.5, 1)
    assert (choice.fastest, choice.reason) == ("openvino-fp32", "it is the fastest")
    assert choice.total == 18 and choice.processor and choice.rounds == ROUNDS
    by_name = {one.name: one for one in choice.candidates}
    assert list(by_name) == ["onnx-fp32", "openvino-fp32", "onnx-int8-dynamic"]
    assert by_name["openvino-fp32"].times_as_fast == (2, 2, 2)
    assert (by_name["onnx-fp32"].seconds, by_name["onnx-fp32"].correct) == (1.0, choice.correct_in_float32)
    refused = by_name["onnx-int8-dynamic"].refused or ""
    assert refused.startswith("The exported model fails the check of the largest difference")
    assert "rejected onnx-int8-dynamic: The exported model fails" in outcome.words
    assert "chosen openvino-fp32: it is the fastest" in outcome.words
    assert "Only the chosen candidate was kept." in outcome.words
    assert outcome.out.splitlines()[-1].startswith("next      noah predict runs/shapes/first/export/openvino-fp32 ")
    last = json.loads((project.run / "log.jsonl").read_text().splitlines()[-1])
    assert (last["name"], last["choice"]["fastest"]) == ("openvino-fp32", "openvino-fp32")
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "| openvino-fp32 | " in card and "noah predict openvino-fp32 IMAGES..." in card
    assert load_predictor(folder, threads=1).classes == manifest.classes
    verified = noah("verify", "--quick")
    assert "artifact openvino-fp32: its files, weights, subnet and classes match the run" in verified.words


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (change_a_weight_unnoticed, "openvino-fp32/model.bin was changed or damaged"),
        (change_weights, "fails the check of the largest difference"),
        (swap_labels, "its labels differ"),
        (swap_labels_everywhere, "fails the label check"),
    ],
)
def test_a_spoiled_candidate_is_never_taken_however_fast(
    project: Finished,
    two_formats: None,
    times: dict[str, float],
    spoiled: dict[str, Spoil],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoil,
    why: str,
) -> None:
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], precisions=("fp32",)))
    times["openvino-fp32"] = 1e-6
    spoiled["openvino-fp32"] = spoil
    artifact = noah_package.open_run().export("auto", threads=1)
    assert artifact.path.name == FLOAT
    choice = choice_of(project, FLOAT)
    assert choice.chosen.name == FLOAT and choice.purpose == "latency"
    assert why in (choice.candidates[1].refused or "")


def test_of_equally_fast_ones_the_simplest_is_taken(
    project: Finished, two_formats: None, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    times.update({"onnx-fp32": 1.004, "openvino-fp32": 1.0})

    write = FORMATS["onnx"].write

    def write_or_lose(run: Run, materials: Any, listener: Any, request: Request) -> Path:
        if request.precision == "int8-dynamic":
            raise ParityError("8 bits lose 7.0 points.")
        return write(run, materials, listener, request)

    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], write=write_or_lose))
    before = read_manifest(project.artifact())
    assert before.choice is None
    noah_package.open_run().export("auto", threads=1)
    choice = choice_of(project, FLOAT)
    assert choice.fastest == "openvino-fp32"
    assert choice.reason == "it cannot be told from the fastest, openvino-fp32, by these times, and is simpler"
    assert choice.candidates[2].refused == "8 bits lose 7.0 points"
    assert read_manifest(project.artifact()).model_copy(update={"choice": None}) == before


def test_accuracy_is_gated_by_what_may_be_lost(
    project: Finished, two_formats: None, times: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = fastest.candidate_requests

    def fail(*_: object, **__: object) -> None:
        raise MissingPackageError("The library is gone.")

    def losing(wanted: Any, batch: int) -> Any:
        requests, refused = found(wanted, batch)
        return [one for one in requests if one.format == "onnx" and one.precision == "fp32"], refused

    monkeypatch.setattr(fastest, "candidate_requests", losing)
    monkeypatch.setattr(
        "export.checks.candidates.predicted_labels", lambda logits: (logits.argmax(axis=1) + 1) % logits.shape[1]
    )
    before = sorted(path.name for path in (project.run / "export").iterdir())
    outcome = noah("export", "--format", "auto", "--threads", "1")
    assert outcome.code == 1
    assert "Error: No candidate can be chosen: onnx-fp32: It loses " in outcome.error_lines[0]
    assert "may be lost." in outcome.error_lines[0] and "rejected onnx-fp32: It loses " in outcome.words
    assert sorted(path.name for path in (project.run / "export").iterdir()) == before
    assert noah("export", "--format", "auto", "--lose-at-most", "100", "--threads", "1").code == 0
    monkeypatch.setitem(FORMATS, "onnx", replace(FORMATS["onnx"], write=fail))  # a library that breaks on the way
    with pytest.raises(ExportError, match=r"onnx-fp32: The library is gone\."):
        noah_package.open_run().export("auto")


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
def test_what_does_not_run_here_is_listed_with_its_reason() -> None:
    from noah.api.exporting import plan_export

    requests, refused = fastest.candidate_requests(plan_export("auto", input="uint8", batch="64"), 64)
    names = [request.folder_name for request in requests]
    assert names[:2] == ["onnx-fp32-uint8", "onnx-fp16-uint8"] and "openvino-int8-uint8" in names
    assert {request.profile.optimum for request in requests} == {64}
    why = {one.name: one.refused for one in refused}
    assert why["trt-fp16-uint8"] == why["onnx-bf16-uint8"] == why_no_gpu()


def test_manifests_of_before_have_no_choice(project: Finished) -> None:
    stored = json.loads((project.artifact() / "manifest.json").read_text())
    stored.pop("choice", None)
    (project.artifact() / "manifest.json").write_text(json.dumps(stored))
    assert read_manifest(project.artifact()).choice is None
