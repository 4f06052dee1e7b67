"""Runs of earlier versions, which spelled a folder and a key of the manifest otherwise, are read as they are."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

from export.artifact.manifest import MANIFEST_FILE
from noah.runs.seals import hash_file
from tests.commands import file_contents, noah
from tests.finished import FLOAT, UINT8, Finished

NEW, OLD = "artifact", "artefact"


def make_earlier(run: Path) -> None:
    """Give a run the spelling of an earlier version, and the seals that go with it."""
    for folder in ("eval", "eval/predictions", "seals/eval"):
        (run / folder / NEW).rename(run / folder / OLD)
    for name in (FLOAT, UINT8):
        manifest = run / "export" / name / MANIFEST_FILE
        text = manifest.read_text(encoding="utf-8")
        text = text.replace('"quantization"', '"quantisation"').replace('"normalized"', '"normalised"')
        manifest.write_text(text, encoding="utf-8")
    for seal in (*(run / "seals" / "eval" / OLD).iterdir(), *(run / "seals" / "export").iterdir()):
        files = json.loads(seal.read_text())["files"]
        paths = [path.replace(f"/{NEW}/", f"/{OLD}/") for path in files]
        entries = {path: {"sha256": hash_file(run / path), "bytes": (run / path).stat().st_size} for path in paths}
        seal.write_text(json.dumps({"files": entries}, indent=1) + "\n")


def page(run: Path) -> str:
    assert noah("report").code == 0
    return html.unescape((run / "report.html").read_text(encoding="utf-8"))


def test_an_earlier_run_is_verified_reported_and_measured_like_any_other(project: Finished) -> None:
    run, artifact = project.run, project.artifact().relative_to(project.folder)
    expected = page(run)
    make_earlier(run)
    assert not (run / "eval" / NEW).exists()
    before = file_contents(run)

    verified = noah("verify")
    assert verified.code == 0, verified.out
    assert "0 failed, 0 not there to check" in verified.words
    assert f"result (eval/{OLD}/{FLOAT}.json): " in verified.out
    assert f"accuracy of {FLOAT}: " in verified.out
    shown = noah("eval", artifact)
    assert shown.code == 0, shown.err
    assert "was measured before" in shown.words
    shutil.copytree(run, run.with_name("second"))
    compared = noah("compare", "shapes/first", "shapes/second")
    shutil.rmtree(run.with_name("second"))
    assert compared.code == 0, compared.err
    assert file_contents(run) == before
    assert page(run) == expected

    assert noah("eval", artifact, "--again").code == 0
    assert [path.name for path in (run / "eval" / NEW).iterdir()] == [f"{FLOAT}.json"]
    assert [path.name for path in (run / "eval" / "predictions" / NEW).iterdir()] == [f"{FLOAT}.json"]
    again = noah("verify", "--quick")
    assert again.code == 0, again.out
    assert f"result (eval/{NEW}/{FLOAT}.json): " in again.out
    assert f"result (eval/{OLD}/{UINT8}.json): " in again.out  # which was not measured again
    assert f"result (eval/{OLD}/{FLOAT}.json): " not in again.out


def test_what_mends_a_changed_result_of_an_earlier_run_is_told(project: Finished) -> None:
    make_earlier(project.run)
    path = project.run / "eval" / OLD / f"{FLOAT}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"accuracy": 0.5}))
    outcome = noah("verify", "--quick")
    assert outcome.code == 1
    assert outcome.out.splitlines()[-1] == f"next      noah eval runs/shapes/first/export/{FLOAT} --again"
