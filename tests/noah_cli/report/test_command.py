"""`noah report` on a real run at every stage."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml

from noah.runs.folder import Run
from noah.runs.subnet_text import spell_subnet
from noah.space.subnet import Subnet
from noah_cli.report.facts import gather_facts
from noah_cli.report.page import render_page
from noah_cli.report.reading import Missing
from tests.commands import Outcome, file_contents, noah
from tests.finished import NAME, Finished
from tests.noah_cli.report.conftest import Reported

AFTER = {
    "measured": (),
    "exported": ("bench.json",),
    "tested": ("bench.json", "export"),
    "retrained": ("bench.json", "export", "eval"),
    "retraining": ("bench.json", "export", "eval", "retrain/model.json"),
    "searched": ("bench.json", "export", "eval", "retrain"),
    "searching": ("bench.json", "export", "eval", "retrain", "search/best.json"),
    "supernet": ("bench.json", "export", "eval", "retrain", "search"),
    "training": ("bench.json", "export", "eval", "retrain", "search", "supernet/losses.json"),
    "begun": ("bench.json", "export", "eval", "retrain", "search", "supernet"),
}
"""Stage -> what of the run is not there yet."""
QUICK = ("measured", "retraining", "begun")
"""The stages whose reports `make test` looks at."""
RESUME, RETRAIN = "noah search --resume --run shapes/first", "noah retrain --run shapes/first"
TEST, EXPORT = "noah eval --run shapes/first", "noah export --format onnx --run shapes/first"
BENCH = (
    "noah bench runs/shapes/first/export/onnx-fp32 runs/shapes/first/export/onnx-fp32-uint8 --against backbone --out"
)
COMMANDS = {
    "measured": (),
    "exported": (BENCH,),
    "tested": (EXPORT,),
    "retrained": (TEST, EXPORT),
    "retraining": ("noah retrain --resume --run shapes/first", TEST, EXPORT),
    "searched": (RETRAIN, TEST, EXPORT),
    "searching": (RESUME, RETRAIN, TEST, EXPORT),
    "supernet": (RESUME, RETRAIN, TEST, EXPORT),
    "training": (RESUME, RETRAIN, TEST, EXPORT),
    "begun": (RESUME, RETRAIN, TEST, EXPORT),
}
"""Stage -> the commands that the page names, the first of which is what comes next."""
FIGURES = {
    "measured": {"speed"},
    "tested": {"confusion", "classes", "reliability", "comparison"},
    "retraining": {"retrain"},
    "searched": {"architecture"},
    "searching": {"search", "front", "importance"},
    "training": {"supernet"},
    "begun": set[str](),
}
"""Stage -> the figures that it adds."""


def report(work: Finished, stage: str) -> Outcome:
    """Take away what is not there at this stage, and report."""
    for part in AFTER[stage]:
        path = work.run / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return noah("report", NAME)


@pytest.mark.parametrize(
    "stage", [stage if stage in QUICK else pytest.param(stage, marks=pytest.mark.slow) for stage in AFTER]
)
def test_every_stage_has_a_page_that_names_what_comes(work: Finished, stage: str) -> None:
    before = file_contents(work.folder)
    outcome = report(work, stage)
    assert (outcome.code, outcome.err) == (0, "")
    page = html.unescape((work.run / "report.html").read_text(encoding="utf-8"))
    for command in COMMANDS[stage]:
        assert command in page, command
    for command in {RESUME, RETRAIN, EXPORT, BENCH} - set(COMMANDS[stage]):
        assert f"{command}\n" not in page and f"{command}<" not in page, command
    last = outcome.out.splitlines()[-1]
    if COMMANDS[stage]:
        assert last.startswith(f"next      {COMMANDS[stage][0]}")
        assert "not yet" in outcome.out
    else:
        assert last.startswith("written ")
        assert "not yet" not in outcome.out
    stages = list(AFTER)
    expected = {
        name for reached, names in FIGURES.items() if stages.index(reached) >= stages.index(stage) for name in names
    }
    figures = {path.name for path in (work.run / "report").iterdir()}
    assert figures == {f"{name}.{kind}" for name in expected for kind in ("svg", "png")} | {"settings.yaml"}
    for path, content in before.items():  # nothing else changed
        if (work.folder / path).exists():
            assert (work.folder / path).read_bytes() == content


def test_what_is_printed(reported: Reported) -> None:
    lines = reported.outcome.out.splitlines()
    assert lines[0] == "run       runs/shapes/first"
    assert "figures   11 as SVG and PNG in runs/shapes/first/report" in lines
    assert lines[-1].startswith("written   runs/shapes/first/report.html, ")
    assert max(map(len, lines)) <= 80


def test_the_same_run_gives_the_same_bytes(reported: Reported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reported.finished.folder)
    before = file_contents(reported.run)
    assert noah("report", NAME).code == 0
    assert file_contents(reported.run) == before


@pytest.mark.slow
def test_figures_of_an_earlier_report_that_are_no_more_go(work: Finished) -> None:
    assert noah("report", NAME).code == 0
    shutil.rmtree(work.run / "export")
    (work.run / "report" / "notes.txt").write_text("mine")
    assert noah("report", NAME).code == 0
    found = {path.name for path in (work.run / "report").iterdir()}
    assert "speed.svg" not in found and "speed.png" not in found
    assert {"architecture.svg", "notes.txt"} <= found


def test_the_latest_run_is_the_default_and_a_given_subnet_has_no_search(work: Finished) -> None:
    outcome = noah("report")
    assert (outcome.code, outcome.out.splitlines()[0]) == (0, "run       runs/shapes/lora")
    page = (work.run.with_name("lora") / "report.html").read_text(encoding="utf-8")
    assert "The given subnet <b>lora:2</b>, trained on" in page
    assert "noah search" not in page
    assert "noah retrain --subnet lora:2" in html.unescape(page)


def test_every_section_gives_the_commands_that_come_before_its_figures(work: Finished) -> None:
    for part in ("retrain", "eval", "export"):
        shutil.rmtree(work.run / part)
    resume, retrain, test, export = (
        f"noah {command} --run {NAME}" for command in ("search --resume", "retrain", "eval", "export --format onnx")
    )
    for before in ((retrain,), (resume, retrain)):
        facts = gather_facts(Run(work.run.relative_to(work.folder)), Path("runs"))
        assert isinstance(facts.retrained, Missing) and facts.retrained.commands == before
        assert isinstance(facts.tested, Missing) and facts.tested.commands == (*before, test)
        assert isinstance(facts.others, Missing) and facts.others.commands == (*before, test)
        assert isinstance(facts.exported, Missing) and facts.exported.commands == (*before, export)
        assert facts.next_command == before[0]
        (work.run / "search" / "best.json").unlink(missing_ok=True)


@pytest.mark.slow
def test_a_run_in_another_folder_is_named_in_every_command(work: Finished) -> None:
    shutil.move(work.folder / "runs", work.folder / "my runs")
    for part in ("export", "bench.json"):
        path = work.folder / "my runs" / NAME / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = noah("report", NAME, "--runs", "my runs")
    assert outcome.code == 0
    expected = "noah export --format onnx --run shapes/first --runs 'my runs'"
    assert outcome.out.splitlines()[-1] == f"next      {expected}"
    page = html.unescape((work.folder / "my runs" / NAME / "report.html").read_text(encoding="utf-8"))
    shutil.rmtree(work.folder / "my runs" / "shapes" / "lora")
    assert expected in page and "No other run" not in page
    assert noah("report", NAME, "--runs", "my runs").code == 0
    page = html.unescape((work.folder / "my runs" / NAME / "report.html").read_text(encoding="utf-8"))
    alone = "noah retrain --subnet lora:8 --run shapes/first --runs 'my runs' && noah eval --runs 'my runs'"
    assert "No other run on shapes" in page and alone in page


@pytest.mark.slow
def test_a_search_that_goes_on_is_read_up_to_its_last_whole_line(work: Finished) -> None:
    log = work.run / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"time": "20')
    before = log.read_bytes()
    assert noah("report", NAME).code == 0
    assert log.read_bytes() == before


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("search/candidates.jsonl", "{}\n", "search/candidates.jsonl holds no candidates."),
        ("search/candidates.jsonl", "[]\n", "search/candidates.jsonl is damaged in line 1: it is no record."),
        ("search/best.json", "[]", "search/best.json holds no winner."),
        ("supernet/losses.json", "{}", "supernet/losses.json holds no losses."),
        ("retrain/model.json", "3", "retrain/model.json holds no losses."),
        ("eval/test.json", '{"correct": 1, "total": 2}', "eval/test.json holds no result of a test."),
        ("eval/artifact/onnx-fp32.json", "{}", "eval/artifact/onnx-fp32.json holds no result of a test."),
        ("eval/mistakes.json", "[]", "eval/mistakes.json holds no mistakes."),
        ("bench.json", "{}", "bench.json holds no figures of `noah bench`."),
        ("log.jsonl", "{}\n", "log.jsonl holds a line without stage, event and time."),
    ],
)
def test_damaged_files_are_told(work: Finished, file: str, content: str, problem: str) -> None:
    (work.run / file).write_text(content)
    outcome = noah("report", NAME)
    assert outcome.code == 1
    assert outcome.error_lines[0] == f"Error: runs/shapes/first/{problem}"
    assert not (work.run / "report.html").exists()


def test_a_damaged_checkpoint_is_told(work: Finished) -> None:
    (work.run / "retrain" / "model.json").unlink()
    (work.run / "retrain" / "checkpoint.safetensors").write_bytes(b"nothing")
    outcome = noah("report", NAME)
    assert outcome.code == 1
    assert outcome.error_lines[0] == "Error: runs/shapes/first/retrain/checkpoint.safetensors holds no losses."


def test_there_is_no_such_run(work: Finished) -> None:
    outcome = noah("report", "shapes/second")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error_lines[0] == "Error: There is no run shapes/second under runs/."


@pytest.mark.slow
def test_a_test_of_an_earlier_version_is_to_be_repeated(work: Finished) -> None:
    path = work.run / "eval" / "predictions" / "test.json"
    kept = json.loads(path.read_text())
    del kept["confidence"]
    path.write_text(json.dumps(kept))
    (work.run / "eval" / "mistakes.json").unlink()
    assert noah("report", NAME).code == 0
    page = (work.run / "report.html").read_text(encoding="utf-8")
    assert page.count("noah eval --again --run shapes/first") == 2
    assert not (work.run / "report" / "reliability.svg").exists()


def test_the_help_names_the_run_and_the_runs(tmp_path: Path) -> None:
    outcome = noah("report", "--help")
    assert "[RUN]" in outcome.out and "--runs" in outcome.out


def test_a_run_with_a_final_is_told_by_what_its_winner_was_chosen(work: Finished) -> None:
    final = ("--rerank", "2", "--set", "search.rerank_epochs=2", "--set", "search.rerank_by=cross_entropy")
    outcome = noah("search", "--run", "final", *final, "--set", "retrain.teachers=finalists")
    assert outcome.code == 0, outcome.err
    assert noah("retrain").code == 0
    result = json.loads((work.run.with_name("final") / "search" / "best.json").read_text())
    assert noah("report", "shapes/final").code == 0
    words = plain_text((work.run.with_name("final") / "report.html").read_text(encoding="utf-8"))
    first, second = result["rerank"]["finalists"]
    assert first["index"] == result["index"] and first["cross_entropy"] <= second["cross_entropy"]
    told = f"{first['accuracy']:.1%} trained on its own, on the {first['total']} images that it was chosen on"
    assert f"Validation accuracy of the winner {told}" in words
    assert f"With the supernet's weights, {result['accuracy']:.1%} of {result['total']} validation images" in words
    assert "they were then compared by cross-entropy on these" in words
    for finalist, mark in ((first, ", the winner"), (second, "")):
        modules = spell_subnet(Subnet.from_json(finalist["subnet"]))
        assert f"{finalist['index']}{mark} {modules} 2 {finalist['accuracy']:.1%}" in words
    assert "50% of each label is what the finalists predict together" in words


def plain_text(page: str) -> str:
    """The words of a page, each separated by one space."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def words_of(work: Finished, runs: str = "runs") -> str:
    """The page on the run without its figures, with single blanks."""
    facts = gather_facts(Run(Path(runs) / NAME), Path(runs))
    return " ".join(html.unescape(render_page(facts, {}, Missing("None."))).split())


def test_the_page_says_how_the_trainings_went(work: Finished) -> None:
    together = "the winner is trained again on its own, on training and validation images together"
    words = words_of(work)
    assert f"First the supernet is trained, one random subnet at a time; after the search, {together}. A" in words
    model = work.run / "retrain" / "model.json"
    parts = {"share": 0.3, "stopping": {"images": 700}, "gates": {"images": 500}}
    model.write_text(json.dumps(json.loads(model.read_text()) | {"held_out": parts}))
    run_file = work.run / "run.yaml"
    description = yaml.safe_load(run_file.read_text(encoding="utf-8"))
    description["settings"]["supernet"]["sampling"] = "sandwich"
    run_file.write_text(yaml.safe_dump(description), encoding="utf-8")
    sandwich = "at each step the largest subnet, the smallest and some random ones"
    assert f"First the supernet is trained, {sandwich}; after the search, {together}, but for 1,200 held out. A" in (
        words_of(work)
    )
    model.unlink()
    (work.run / "retrain" / "held_out.json").write_text(json.dumps(parts))
    assert f"{together}, but for 1,200 held out. A" in words_of(work)
    shutil.rmtree(work.run / "retrain")
    shutil.rmtree(work.run / "supernet")
    words = words_of(work)
    assert "First the supernet is trained; after the search, the winner is trained again on its own. A" in words


def test_the_page_says_that_nothing_was_tested_only_if_it_has_looked(work: Finished) -> None:
    nothing, commands = "No other run on shapes has been tested on the same images.", "These commands train and test"
    other = work.run.with_name("lora")
    assert nothing not in words_of(work) and commands not in words_of(work)
    (other / "eval" / "test.json").write_text("{")
    words = words_of(work)
    assert "shapes/lora cannot be read" in words and nothing not in words and commands in words
    shutil.rmtree(other)
    assert f"{nothing} {commands}" in words_of(work)
    shutil.rmtree(work.run / "eval")
    words = words_of(work)
    assert nothing not in words and commands in words


def test_the_commands_of_a_run_elsewhere_name_its_folder(work: Finished) -> None:
    Path("runs").rename("elsewhere")
    facts = gather_facts(Run(Path("elsewhere") / NAME), Path("elsewhere"))
    by_path = gather_facts(Run(Path("elsewhere") / NAME), Path("runs"))
    assert facts.repeat == by_path.repeat
    assert all(command.endswith(" --runs elsewhere") for command in (*facts.repeat.commands, facts.repeat.exact))
    assert "noah eval elsewhere/latest/export/onnx-fp32 --runs elsewhere" in facts.repeat.commands
