"""`--format openvino`: exported from a finished run, proved, and opened by every command; and `--provider openvino`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from packaging.version import Version
from safetensors.torch import save_file

from export.artifact.manifest import read_manifest
from export.artifact.metadata import CLASSES, PREPROCESSING
from export.formats.load import load_predictor
from export.formats.openvino import OPENVINO
from export.formats.registry import FORMATS
from export.runtime.openvino_model import PROVIDER, OpenVinoModel
from export.runtime.profile import Profile
from export.write.request import Request
from noah.errors import ParityError, UsageError
from noah.prepare.context import prepare
from noah.progress import Silent
from noah.runs.folder import Run
from tests.commands import noah, write_settings
from tests.conftest import TinySettings
from tests.export.tiny_artifact import CLASSES as TINY_CLASSES
from tests.export.tiny_artifact import HEIGHT, WIDTH, logits_by_hand, make_artifact
from tests.finished import FLOAT, UINT8, Finished


@pytest.fixture(scope="module")
def written(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished run with an artifact of each precision; bf16 takes raw pixels."""
    copied = finished.copy(tmp_path_factory.mktemp("openvino"))
    run = Run(copied.run)
    materials = prepare(run.settings(), Silent())
    for precision in OPENVINO.precisions:
        asked = Request(
            format="openvino",
            precision=precision,
            input="uint8" if precision == "bf16" else "float",
            profile=Profile(1, 2, 18),
        )
        OPENVINO.write(run, materials, Silent(), asked)
    return copied


def artifact(written: Finished, precision: str) -> Path:
    return written.artifact(f"openvino-{precision}{'-uint8' if precision == 'bf16' else ''}")


@pytest.mark.skipif(Version(torch.__version__) < Version("2.11"), reason="torch 2.8 takes RMS norms apart")
def test_a_backbone_with_rms_norms_is_exported_without_an_operator_set_of_its_own(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture, arguments = "vit_tiny_patch16_224", {"depth": 2, "norm_layer": "rmsnorm"}
    network = timm.create_model(architecture, num_classes=3, img_size=32, **arguments)
    save_file(network.state_dict(), tmp_path / "rms.safetensors")
    monkeypatch.chdir(tmp_path)
    changes = {
        "backbone.name": "rms.safetensors",
        "backbone.architecture": architecture,
        "backbone.arguments": [f"{name}={value}" for name, value in arguments.items()],
    }
    write_settings(tmp_path, tiny_settings(changes))
    assert noah("retrain", "--subnet", "lora:2", "--name", "rms").code == 0
    outcome = noah("export", "--format", "openvino")
    assert outcome.code == 0, outcome.err
    assert "writing model.onnx, fp32, opset 23, batch axis free" in outcome.words


@pytest.mark.parametrize("precision", OPENVINO.precisions)
def test_it_predicts_what_the_onnx_artifact_predicts(written: Finished, precision: str) -> None:
    predictor = load_predictor(artifact(written, precision), threads=1)
    expected = load_predictor(written.artifact(UINT8), provider="cpu", threads=1)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    found, right = predictor.run(pixels), expected.run(pixels)
    assert predictor.provider == PROVIDER
    assert np.abs(found - right).max() < {"fp32": 1e-4, "fp16": 2e-2}.get(precision, 1e-1) * np.abs(right).max()
    for count in (1, 3):
        assert predictor.run(pixels[:count]).shape == (count, 3)


@pytest.mark.parametrize("precision", OPENVINO.precisions)
def test_its_manifest_tells_what_is_stored_and_what_is_computed(written: Finished, precision: str) -> None:
    folder = artifact(written, precision)
    manifest = read_manifest(folder)
    assert sorted(manifest.files) == ["model.bin", "model.xml"]
    assert (manifest.format, manifest.precision, manifest.opset) == ("openvino", precision, None)
    stored = set(manifest.types["weights"])
    assert stored == {"fp16": {"float16"}, "bf16": {"float16"}, "int8": {"float32", "int8"}}.get(precision, {"float32"})
    execution = manifest.execution
    assert execution is not None and (execution.package, execution.device) == ("openvino", "CPU")
    computed = {kind for counts in execution.layers.values() for kind in counts}
    assert computed <= {"float32", *{"bf16": ["bfloat16"], "fp16": ["float16"], "int8": ["int8"]}.get(precision, [])}
    assert ("int8" in computed) == (precision == "int8") == (execution.correct is not None)
    (parity,) = manifest.parity
    assert parity.runs_on.startswith(f"{PROVIDER}, products: ")
    assert [batch.batch for batch in parity.batches] == [1, 2, 18]
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert f"noah predict {folder.name} IMAGES..." in card
    assert f'"INFERENCE_PRECISION_HINT": "{execution.hint}"' in card
    assert f"told to compute in {execution.hint}. Its layers: " in card
    assert (f"So run, it gets {execution.correct} of " in card) == (precision == "int8")
    assert ("Of the ONNX file that it was converted from: " in card) == (precision == "int8")


def test_labels_and_preprocessing_are_in_the_file_itself(written: Finished) -> None:
    model = load_predictor(artifact(written, "int8"), threads=1).model
    assert json.loads(model.metadata[CLASSES]) == ["circle", "square", "stripes"]
    assert json.loads(model.metadata[PREPROCESSING])["height"] == 32


def test_the_lines_of_its_card_run_without_noah(written: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = artifact(written, "fp32")
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    lines = [
        line.strip()
        for line in card.splitlines()
        if line.startswith(("    network", "    labels", "    run", "    logits"))
    ]
    assert len(lines) == 4
    monkeypatch.chdir(folder)
    pixels = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    names = {"images": pixels}
    exec("import json, openvino\n" + "\n".join(lines), names)  # the card is ours
    assert names["labels"] == ["circle", "square", "stripes"]
    model = load_predictor(folder, threads=1).model
    assert np.allclose(names["logits"], model.run(pixels), atol=1e-4)


def test_every_command_opens_it(written: Finished, photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written.folder)
    folder = artifact(written, "bf16").relative_to(written.folder)
    outcome = noah("eval", folder)
    assert outcome.code == 0, outcome.err
    assert f"runs on {PROVIDER} (computes in " in outcome.words
    stored = json.loads((written.run / "eval" / "artifact" / f"{folder.name}.json").read_text())
    assert (stored["provider"], set(stored["files"])) == (PROVIDER, {"model.bin", "model.xml"})
    rows = noah("predict", folder / "model.xml", photo_folder / "test", "--threads", "1")
    assert rows.code == 0, rows.err
    assert rows.out == noah("predict", folder, photo_folder / "test").out
    verified = noah("verify", "--quick")
    assert f"artifact {folder.name}: its files, weights, subnet and classes match the run" in verified.words
    timed = noah("bench", folder, "--seconds", "0", "--batch", "1", "--against", written.artifact(FLOAT))
    assert timed.code == 0, timed.err
    assert folder.name in timed.out


def test_8_bits_that_lose_too_much_as_openvino_runs_them_are_refused(
    written: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OpenVinoModel, "run", lambda self, values: np.eye(3, dtype=np.float32)[[0] * len(values)])
    monkeypatch.setattr("export.write.proof.Evidence.compare", lambda *_, **__: None)
    run = Run(written.run)
    before = sorted(path.name for path in (written.run / "export").iterdir())
    with pytest.raises(ParityError, match=r"as OpenVINO runs it, .* but only 0\.5 points may be lost") as error:
        OPENVINO.write(
            run, prepare(run.settings(), Silent()), Silent(), Request(format="openvino", precision="int8", name="bad")
        )
    assert error.value.hint == "Nothing was written. Try --exclude-last-block or --precision bf16."
    assert sorted(path.name for path in (written.run / "export").iterdir()) == before


def test_an_onnx_artifact_runs_by_openvino(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact")
    predictor = load_predictor(folder, provider="openvino", threads=1)
    assert predictor.provider == PROVIDER
    pixels = np.random.default_rng(0).integers(0, 256, (3, HEIGHT, WIDTH, 3), dtype=np.uint8)
    assert predictor.run(pixels).shape == (3, len(TINY_CLASSES))
    assert np.allclose(predictor.run(pixels), logits_by_hand(pixels), atol=1e-4)
    with pytest.raises(UsageError, match="gives no embeddings"):
        load_predictor(folder, provider="openvino", embeddings=True)


def test_what_it_cannot_do_is_told(written: Finished) -> None:
    folder = artifact(written, "fp32")
    with pytest.raises(UsageError, match=r"--provider cuda does not run .*model\.xml, which is for OpenVINO"):
        load_predictor(folder, provider="cuda")
    with pytest.raises(UsageError, match="gives no embeddings") as caught:
        load_predictor(folder, embeddings=True)
    assert caught.value.hint.endswith(f": noah export --format onnx --run {written.run}")
    with pytest.raises(UsageError, match="threads is 0"):
        load_predictor(folder, threads=0)


def test_without_the_package_it_says_what_to_type(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    install = "Type: pip install 'noah-prompt-search[openvino]'"
    for command in (
        ("export", "--format", "openvino"),
        ("predict", project.artifact(), "x.png", "--provider", "openvino"),
    ):
        outcome = noah(*command)
        assert outcome.code == 1
        assert outcome.error_lines == ["Error: openvino is not installed.", install]
    (finding,) = FORMATS["openvino"].examine()
    assert finding.level == "note" and finding.text.endswith(install)
    (model,) = OPENVINO.models
    manifest = read_manifest(project.artifact())
    assert model.why_not_here(manifest) == "openvino is not installed"
    assert OPENVINO.why_not() == "openvino is not installed."
