"""--quiet, --verbose and --json, wherever they stand."""

from __future__ import annotations

import json

import pytest

from noah_cli.app import main
from noah_cli.terminal.output import Output, split_output


@pytest.mark.parametrize(
    ("typed", "output", "others"),
    [
        ("search --json --dataset digits -q", Output(quiet=True, json=True), "search --dataset digits"),
        ("-v search", Output(verbose=True), "search"),
        ("--quiet eval --verbose", Output(quiet=True, verbose=True), "eval"),
        ("predict a -- -q --json", Output(), "predict a -- -q --json"),
        ("doctor", Output(), "doctor"),
    ],
)
def test_they_are_taken_out_of_the_line_up_to_two_dashes(typed: str, output: Output, others: str) -> None:
    assert split_output(typed.split()) == (output, others.split())


def test_json_alone_stands_on_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "demo", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["recipe"] == "demo"
    assert found["sources"]["supernet.epochs"] == "recipe demo"
    assert f"supernet.epochs={found['settings']['supernet']['epochs']}  # recipe demo" in printed.err


def test_quiet_says_nothing_but_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-q", "recipes", "demo"]) == 0
    assert capsys.readouterr() == ("", "")
    assert main(["recipes", "-q", "--json"]) == 0
    printed = capsys.readouterr()
    assert "demo" in json.loads(printed.out)["recipes"]
    assert printed.err == ""


@pytest.mark.parametrize("options", [["--json"], ["--json", "-q"]])
def test_an_error_is_json_too_and_told_as_ever(capsys: pytest.CaptureFixture[str], options: list[str]) -> None:
    assert main(["recipes", "dmeo", *options]) == 2
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["exit_code"] == 2
    assert "dmeo" in found["error"]
    assert found["error"] in printed.err.replace("\n", " ")


def test_verbose_tells_every_setting_with_its_source(
    capsys: pytest.CaptureFixture[str], tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    assert main(["search", "--dataset", "nothing-of-the-kind", "--recipe", "demo", "--set", "seed=7", "-v"]) == 2
    told = capsys.readouterr().out
    assert "seed=7  (--set)" in told
    assert "supernet.epochs=5  (recipe demo)" in told
