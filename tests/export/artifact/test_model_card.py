"""The model card says what the manifest says, in words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.artifact.manifest import Manifest, read_manifest
from export.artifact.model_card import model_card
from export.artifact.records import ResizedRecord
from export.formats.registry import format_of
from tests.export.tiny_artifact import HEIGHT, WIDTH, make_artifact
from tests.finished import ENGINES, FLOAT, UINT8, Finished


def lines(folder: Path) -> list[str]:
    return (folder / "model_card.md").read_text(encoding="utf-8").splitlines()


def card_of(manifest: Manifest, folder: Path) -> str:
    format_ = format_of(manifest)
    return model_card(manifest, None, folder, form=format_.form, usage=format_.usage(manifest, folder))


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_the_card_of_an_artifact(finished: Finished, name: str) -> None:
    folder = finished.artifact(name)
    manifest, card = read_manifest(folder), lines(folder)
    assert card[0] == f"# {name} of shapes/first"
    assert "- Classes (3): circle, square, stripes" in card
    for module in ("prompt", "lora", "adapter"):
        widths = manifest.subnet.root[module]
        assert f"| {module} | " + " | ".join(str(width or "·") for width in widths) + " |" in card
    test = json.loads((finished.run / "eval" / "test.json").read_text())
    assert any(line.startswith(f"{test['accuracy']:.2%} ± ") for line in card)
    for batch in manifest.parity[0].batches:
        assert f"| {batch.batch} | {batch.max_difference:.1e} | {batch.mean_difference:.1e} | 100.0% |" in card
    assert f"| torch | {manifest.versions['torch']} |" in card
    assert f"    noah predict {name} IMAGES... --out predictions.csv" in card
    assert ("raw uint8 pixels (batch, 32, 32, 3)" in "\n".join(card)) == (name == UINT8)


def test_the_card_of_an_engine_says_whether_it_was_run(engines: Finished) -> None:
    folder = engines.artifact(ENGINES[1])
    text = " ".join(lines(folder))
    engine = read_manifest(folder).engine
    assert engine is not None
    assert engine.verified[1:] in text
    assert "for sm89; it takes batches of 1 to 20 images and is optimized for 4." in text
    assert "Simulated, not run (onnxruntime CPUExecutionProvider: the same graph in float32" in text
    assert f"noah predict {ENGINES[1]}/model.onnx IMAGES..." in text


def test_a_card_without_a_test_result_names_the_command(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact")
    card = card_of(read_manifest(folder), folder)
    assert "`noah eval` measures it" in card
    assert "café, a, b, dog, 鳥" in card


def test_the_size_of_an_artifact_for_images_of_any_size_is_that_of_its_preprocessing(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact", kind="image")
    record = ResizedRecord(searched_size=(8, 8), images="9 images", total=9, correct=6, correct_at_searched_size=3)
    manifest = read_manifest(folder).model_copy(update={"resized": record})
    assert f"made for {WIDTH} x {HEIGHT} px. Of 9 images, 66.67% are right" in card_of(manifest, folder)


def test_people_may_edit_the_card(finished: Finished, tmp_path: Path) -> None:
    from export.formats.load import load_predictor

    folder = finished.copy(tmp_path / "copy").artifact()
    (folder / "model_card.md").write_text("mine")
    assert load_predictor(folder, provider="cpu").classes


def test_names_stand_in_the_card_as_they_are_and_do_nothing(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact")
    classes = ["<script>alert(1)</script>", "[free](http://a)", "a|b", "*x*", "line\n# end"]
    manifest = read_manifest(folder).model_copy(
        update={"classes": tuple(classes), "dataset": "`shapes`", "versions": {"a|b": "<1>"}}
    )
    card = card_of(manifest, folder)
    assert r"\<script\>alert(1)\</script\>, \[free\](http://a), a\|b, \*x\*, line \# end" in card
    assert r"Trained on \`shapes\`." in card
    assert r"| a\|b | \<1\> |" in card
