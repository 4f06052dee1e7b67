"""A run whose modules fill the last blocks: its first blocks are computed once, and everything comes out the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from noah.files.jsonl import read_lines
from noah.prepare.forecast import forecast
from noah.space.budget import Budget
from noah.stages.retrain_stage import evaluate_test, retrain
from noah.stages.search_stage import search
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")

LAST = {
    "space.placement": "last",
    "space.depths": [1, 2],
    "supernet.drop_path": 0,
    "retrain.drop_path": 0,
    "retrain.epochs": 3,
}


def test_the_run_says_so_and_gives_the_same_bytes(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for name in ("once", "every epoch"):
        materials, listener = make_materials(tiny_settings(LAST)), Recorder()
        run = start_run(tmp_path / name.replace(" ", "-"), materials)
        for stage in (search, retrain, evaluate_test):
            stage(run, materials, listener)
        said = [line for line in listener.said if line.startswith("blocks ")]
        runs.append(content(run))
        if name == "once":
            first = said
            logged = [line for line in read_lines(run.path("log.jsonl")) if line["event"] == "first blocks"]
            monkeypatch.setattr("noah.prepare.first_blocks.choose_blocks", lambda *_: (0, ""))
            monkeypatch.setattr("noah.stages.search_stage.validation_tokens", lambda *_: None)
        else:
            assert said == []
    assert runs[0] == runs[1]
    assert [line.split("(")[0].strip() for line in first] == [
        "blocks    the first 4 of 6 once for all epochs",
        "blocks    the first 4 of 6 once for all candidates",
        "blocks    the first 4 of 6 once for all epochs",
    ]
    assert "(no module is in them; " in first[0]
    assert [line["stage"] for line in logged] == ["supernet", "retrain"]
    assert logged[0]["choice"] == "the first 4 of 6 once for all epochs"


def test_what_keeps_them_from_being_computed_once_is_told(tiny_settings: TinySettings, tmp_path: Path) -> None:
    flips = {**LAST, "supernet.augmentation.horizontal_flip": 0.5}
    materials, listener = make_materials(tiny_settings(flips)), Recorder()
    search(start_run(tmp_path, materials), materials, listener)
    assert "blocks    all 6 in every epoch (no module is in the first 4, but images are augmented)" in listener.said


def test_a_forecast_computes_them_once_too(tiny_settings: TinySettings) -> None:
    listener = Recorder()
    made = forecast(make_materials(tiny_settings(LAST)), Budget(), listener)
    assert listener.bars["computing the first blocks"]
    assert made.supernet.reading > 0


def test_finalists_share_them(tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are computed once for all, even if each is trained for one epoch."""
    final = {"search.rerank": 3, "search.rerank_epochs": 1, "space.depths": [2]}
    reranked = []
    for name in ("once", "every-time"):
        materials, listener = make_materials(tiny_settings({**LAST, **final})), Recorder()
        run = start_run(tmp_path / name, materials)
        search(run, materials, listener)
        reranked.append(run.path("search", "rerank.jsonl").read_bytes())
        said = [line for line in listener.said if "trainings without modules there" in line]
        assert len(said) == (name == "once")
        monkeypatch.setattr("noah.stages.finalist.compute_first_blocks", lambda *_: None)
    assert reranked[0] == reranked[1]
