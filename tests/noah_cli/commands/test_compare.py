"""`noah compare` on two real runs: a searched one and a linear head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.stats import binomtest

from noah.backbone.supported import untrained_backbone
from noah.cost.macs import backbone_macs, merged_macs
from noah.runs.folder import Run
from noah.space.subnet import Subnet
from tests.commands import file_contents, noah
from tests.finished import Finished

LINEAR = "shapes/linear"


@pytest.fixture(scope="module")
def compared(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """The searched run and a linear head on the same data, both tested; the working folder."""
    copied = finished.copy(tmp_path_factory.mktemp("compared"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copied.folder)
        for arguments in (
            ("retrain", "--subnet", "linear", "--name", "linear", "--set", "retrain.epochs=1"),
            ("eval",),
        ):
            outcome = noah(*arguments)
            assert outcome.code == 0, outcome.err
        yield copied


@pytest.fixture
def runs(compared: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder of both runs that a test may write to, in the working folder."""
    copied = compared.copy(tmp_path / "work")
    monkeypatch.chdir(copied.folder)
    return copied.folder / "runs" / "shapes"


def read(run: Path, *parts: str) -> Any:
    return json.loads(run.joinpath(*parts).read_text(encoding="utf-8"))


def interval(correct: int, total: int) -> str:
    found = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    return f"{100 * found.low:.1f} to {100 * found.high:.1f}"


def test_two_runs_side_by_side(compared: Finished) -> None:
    before = file_contents(compared.folder)
    outcome = noah("compare", "first", "linear")
    assert (outcome.code, outcome.err) == (0, "")
    assert file_contents(compared.folder) == before
    assert max(map(len, outcome.out.splitlines())) <= 80

    first, linear = compared.run, compared.run.with_name("linear")
    lines = [line.split() for line in outcome.out.splitlines()]
    place = next(number for number, line in enumerate(lines) if line[:1] == ["shapes/first"])
    best, tests = read(first, "search", "best.json"), [read(run, "eval", "test.json") for run in (first, linear)]
    backbone = untrained_backbone("test_vit", (32, 32), 3)
    relative = [
        merged_macs(backbone, subnet, 3) / backbone_macs(backbone, 3)
        for subnet in (Subnet.from_json(best["subnet"]), Subnet.uniform(6))
    ]
    assert lines[place : place + 4] == [
        [
            "shapes/first",
            f"{best['parameters']:,}",
            f"{relative[0]:.3f}x",
            f"{100 * best['accuracy']:.2f}",
            f"{100 * tests[0]['accuracy']:.2f}",
        ],
        f"searched {interval(best['correct'], best['total'])} {interval(tests[0]['correct'], 18)}".split(),
        ["shapes/linear", "0", f"{relative[1]:.3f}x", "-", f"{100 * tests[1]['accuracy']:.2f}"],
        f"linear {interval(tests[1]['correct'], 18)}".split(),
    ]

    right = []
    for run in (first, linear):
        kept = read(run, "eval", "predictions", "test.json")
        right.append(np.array(kept["labels"]) == np.array(kept["predicted"]))
    only_linear, only_first = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    assert only_first > only_linear
    p_value = binomtest(only_linear, only_linear + only_first).pvalue
    pair = next(line for line in lines[place + 4 :] if line[:1] == ["shapes/linear"])
    assert pair == [
        LINEAR,
        f"{100 * (tests[1]['accuracy'] - tests[0]['accuracy']):+.2f}",
        str(only_linear),
        str(only_first),
        f"{p_value:.3f}" if p_value >= 0.001 else f"{p_value:.1e}",
    ]
    assert "paired with shapes/first on the same 18 test images; differences are in percentage points" in outcome.words
    assert outcome.out.endswith("\np-value   of McNemar's exact test, two-sided\n")
    assert "unpaired" not in outcome.out


def test_three_runs_are_corrected_by_holm(runs: Path) -> None:
    shutil.copytree(runs / "linear", runs / "twin")
    outcome = noah("compare", "linear", "first", "shapes/twin")
    assert outcome.code == 0
    assert "p-value of McNemar's exact test, two-sided, corrected by Holm for 2 comparisons" in outcome.words
    twin = next(line.split() for line in reversed(outcome.out.splitlines()) if "shapes/twin" in line)
    assert twin == ["shapes/twin", "+0.00", "0", "0", "1.000"]


def test_runs_of_one_name_are_told_apart_by_their_folder(runs: Path) -> None:
    shutil.copytree(runs / "linear", "elsewhere/shapes/linear")
    outcome = noah("compare", "linear", "elsewhere/shapes/linear")
    assert outcome.code == 0
    names = {line.split()[0] for line in outcome.out.splitlines() if "shapes/linear " in line}
    assert names >= {"runs/shapes/linear", "elsewhere/shapes/linear"}


def test_a_long_name_gives_way_not_a_figure(runs: Path) -> None:
    name = "a-name-as-long-as-a-person-may-choose-to-type-without-thinking-of-tables-at-all"
    (runs / "linear").rename(runs / name)
    outcome = noah("compare", "first", name)
    assert outcome.code == 0
    table = [line for line in outcome.out.splitlines() if line.startswith(" ") and "of it elsewhere" not in line]
    assert max(map(len, table)) <= 80
    assert name in "".join(line.split()[0] for line in table if line.split())
    assert "…" not in outcome.out


def without(*parts: str) -> Any:
    def spoil(run: Path) -> None:
        target = run.joinpath(*parts)
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def other_result(run: Path) -> None:
    stored = read(run, "eval", "test.json")
    (run / "eval" / "test.json").write_text(json.dumps(stored | {"correct": stored["correct"] - 1}))


@pytest.mark.parametrize(
    ("spoil", "problem", "command"),
    [
        (without("search", "best.json"), "its search has not finished", "noah search --resume"),
        (without("retrain"), "it has not been retrained", "noah retrain"),
        (without("retrain", "model.json"), "it has not been retrained", "noah retrain --resume"),
        (without("eval"), "it has not been tested", "noah eval"),
        (without("eval", "predictions"), "it was tested before single predictions were kept", "noah eval --again"),
        (other_result, "its predictions and its test result come from different tests", "noah eval --again"),
    ],
)
def test_what_is_missing_comes_with_its_command(runs: Path, spoil: Any, problem: str, command: str) -> None:
    spoil(runs / "first")
    outcome = noah("compare", "linear", "first")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.words.endswith(f"unpaired shapes/first: {problem}. next {command} --run shapes/first")
    assert "p-value" not in outcome.out
    outcome = noah("compare", "first", "linear")
    assert f"unpaired shapes/first: {problem}, so none can be paired with it. next" in outcome.words
    assert "shapes/linear:" not in outcome.out


def test_the_command_that_is_named_mends_it(runs: Path) -> None:
    without("eval", "predictions")(runs / "first")
    assert noah("eval", "--again", "--run", "shapes/first").code == 0
    assert "p-value" in noah("compare", "first", "linear").out


def test_runs_on_other_images_are_not_paired(runs: Path) -> None:
    path = runs / "linear" / "eval" / "predictions" / "test.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "other"}))
    outcome = noah("compare", "first", "linear")
    assert outcome.code == 0
    assert outcome.words.endswith(
        "unpaired shapes/linear was tested on other images than shapes/first: the two cannot be paired."
    )
    assert "p-value" not in outcome.out


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [
        (
            ("first",),
            [
                "Error: A comparison needs two runs or more.",
                "Type: noah compare RUN RUN, each as DATASET/ID or a path.",
            ],
        ),
        (
            ("first", "linear", "runs/shapes/first"),
            ["Error: The run shapes/first is named twice.", "Name each run once; latest is one of them too."],
        ),
        (
            ("linear", "latest"),
            ["Error: The run shapes/linear is named twice.", "Name each run once; latest is one of them too."],
        ),
        (
            ("first", "lineal"),
            ["Error: There is no run lineal under runs/.", "The runs are: shapes/first, shapes/linear."],
        ),
        (
            ("first", "linear", "--device", "cpu", "--threads", "1"),
            [
                "Error: --device and --threads have no effect without --latency.",
                "Leave them out, or add --latency.",
            ],
        ),
        (
            ("first", "linear", "--precision", "fp32"),
            ["Error: --precision has no effect without --latency.", "Leave it out, or add --latency."],
        ),
    ],
)
def test_wrong_usage(compared: Finished, arguments: tuple[str, ...], lines: list[str]) -> None:
    outcome = noah("compare", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.error_lines == lines


def test_no_run_at_all_is_wrong_usage() -> None:
    outcome = noah("compare")
    assert outcome.code == 2
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("eval/test.json", '{"correct": 9}', "holds no accuracy."),
        ("eval/test.json", '{"correct": 9, "total": 3}', "holds no accuracy."),
        ("eval/predictions/test.json", "{", "is damaged: "),
        ("eval/predictions/test.json", "[]", "holds no predictions."),
        ("run.yaml", "settings: {}", "does not say which backbone and classes it has."),
    ],
)
def test_damaged_files(runs: Path, file: str, content: str, problem: str) -> None:
    (runs / "linear" / file).write_text(content)
    outcome = noah("compare", "first", "linear")
    assert outcome.code == 1
    assert outcome.error_lines[0].startswith(f"Error: runs/shapes/linear/{file} {problem}")


def test_a_backbone_that_timm_no_longer_knows(runs: Path) -> None:
    path = runs / "linear" / "run.yaml"
    description = yaml.safe_load(path.read_text())
    description["backbone"]["architecture"] = "vit_of_old"
    path.write_text(yaml.safe_dump(description))
    outcome = noah("compare", "first", "linear")
    assert outcome.code == 1
    assert "cannot build the architecture vit_of_old" in outcome.error_lines[0]
    assert outcome.error_lines[1] == "Install the timm that the run was made with; its run.yaml names the version."


def test_latency_is_measured_only_when_asked_for(compared: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = noah("compare", "first", "linear")
    assert "latency" not in plain.out
    timed = noah("compare", "first", "linear", "--latency", "--device", "cpu", "--threads", "1")
    assert (timed.code, timed.err) == (0, "")
    assert max(map(len, timed.out.splitlines())) <= 80
    for name in ("first", "linear"):
        line = next(line.split() for line in timed.out.splitlines() if line.startswith(f" shapes/{name} "))
        assert 0.1 < float(line[3].removesuffix("x")) < 10
    assert (
        "latency of batches of 32 images in torch on cpu in fp32, threads: 1; medians of 10 turns each" in timed.words
    )


def test_without_a_subnet_there_is_nothing_to_time(runs: Path) -> None:
    without("search", "best.json")(runs / "first")
    outcome = noah("compare", "linear", "first", "--latency", "--device", "cpu", "--threads", "1")
    assert outcome.code == 0
    line = next(line.split() for line in outcome.out.splitlines() if line.startswith(" shapes/first "))
    assert line[:5] == ["shapes/first", "-", "-", "-", "-"]
    assert Run(runs / "first").path("eval", "test.json").is_file()
