"""The artifacts on the page: of an engine that no GPU runs, the ONNX file beside it is offered, and its figure told."""

from __future__ import annotations

import html
import json
import shutil

import pytest

from export.artifact.manifest import read_manifest, write_manifest
from noah.hardware.gpu import why_no_gpu
from tests.commands import noah
from tests.export.choices import make_choice
from tests.finished import ENGINES, FLOAT, UINT8, Finished


@pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
@pytest.mark.slow
def test_of_an_engine_without_a_gpu_the_file_beside_it_counts(engine_project: Finished) -> None:
    project = engine_project
    half, brain = (project.artifact(name).relative_to(project.folder) for name in ENGINES)

    def page() -> str:
        assert noah("report").code == 0
        return html.unescape((project.run / "report.html").read_text(encoding="utf-8"))

    before = page()
    assert f"<code>noah eval {half}/model.onnx</code>" in before
    assert f"noah eval {brain}" not in before  # onnxruntime's CPU has no bf16
    assert f"The accuracy of {brain.name} has not been measured: {why_no_gpu()}." in before
    (bench,) = {line for line in before.replace("<", "\n").splitlines() if "noah bench" in line}
    assert half.name not in bench and brain.name not in bench
    bench_file = project.run / "bench.json"
    assert noah("bench", half / "model.onnx", "--seconds", "0", "--batch", "1", "--out", bench_file).code == 0
    kept = json.loads(bench_file.read_text())  # as a machine with a GPU would have written it
    kept["models"][0] |= {"name": half.name, "bytes": (half / "model.engine").stat().st_size}
    bench_file.write_text(json.dumps(kept))
    for name in (FLOAT, UINT8):
        shutil.rmtree(project.run / "export" / name)
    only_engines = page()
    assert f'<th scope="row" class="name">{half.name}</th><td class="number">1</td>' in only_engines
    assert "noah bench" not in only_engines
    kept["models"][0]["bytes"] += 1
    bench_file.write_text(json.dumps(kept))
    assert f"{half.name} was exported again after speed was measured, and is left out.</p></div>" in page()
    assert noah("eval", half / "model.onnx").code == 0
    after = page()
    assert "by its model.onnx" in after
    assert f"<code>noah eval {half}/model.onnx</code>" not in after
    assert f"noah eval runs/latest/export/{half.name}/model.onnx" in after


def test_how_an_artifact_was_chosen_is_on_the_page_with_every_candidate(work: Finished) -> None:
    folder = work.artifact()
    write_manifest(read_manifest(folder).model_copy(update={"choice": make_choice()}), folder)
    outcome = noah("report", "shapes/first")
    assert outcome.code == 0, outcome.err
    page = (work.run / "report.html").read_text(encoding="utf-8")
    assert f"<h3>How {FLOAT} was chosen</h3>" in page
    assert f'<figure id="figure-choice-{FLOAT}">' in page
    assert "on A &lt;small&gt; processor with 1 thread: it cannot be told from the fastest" in page
    table = page.partition(f'aria-label="Candidates of {FLOAT}"')[2].partition("</table>")[0]
    assert table.count("<tr>") == 1 + len(make_choice().candidates)
    for words in ("chosen", "as fast by these times", "slower", "It loses 5 points", "no NVIDIA driver", "1.98"):
        assert words in table
    assert (work.run / "report" / f"choice-{FLOAT}.svg").is_file()
