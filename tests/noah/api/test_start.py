"""A run from Python is that of the commands: the same settings, sources, subnet, weights, artifact and predictions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import noah
from noah.runs.folder import open_run
from noah.settings.layers import flatten
from tests.commands import noah as command
from tests.commands import write_settings
from tests.conftest import TinySettings
from tests.documents import labels
from tests.noah.global_random_state import unmoved_global_state

BY_COMMAND, BY_PYTHON = Path("by-command"), Path("by-python")
NAME = "digits/first"
SEED = 3
BUDGET = "params=9k"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings, kept_exports: None) -> Iterator[Path]:
    """A working folder with two runs of a few seconds on the digits, of the same name in two folders of runs."""
    folder = tmp_path_factory.mktemp("digits")
    settings = tiny_settings({"supernet.epochs": 1, "retrain.epochs": 1, "search.population": 3})
    del settings["data"], settings["budget"]
    for stage in ("supernet", "retrain"):
        settings[stage]["batch_size"] = 128
    config = write_settings(folder, settings, "tiny.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        by_command(config)
        with unmoved_global_state():
            by_python(config)
        yield folder


def by_command(config: Path) -> None:
    runs = ("--runs", BY_COMMAND)
    for words in (
        ("search", "--dataset", "digits", "--config", config, "--seed", SEED, "--budget", BUDGET, "--run", "first"),
        ("retrain",),
        ("eval",),
        ("export", "--format", "onnx"),
    ):
        assert command(*words, *runs).code == 0
    artifact = BY_COMMAND / NAME / "export" / "onnx-fp32"
    assert command("eval", artifact, *runs).code == 0


def by_python(config: Path) -> None:
    run = noah.search(dataset="digits", config=config, seed=SEED, budget=BUDGET, run="first", runs=BY_PYTHON)
    run.retrain()
    run.evaluate()
    run.evaluate(run.export("onnx"))


def test_every_file_that_a_stage_decides_is_the_same_to_the_byte(digits: Path) -> None:
    same = {
        *("supernet/checkpoint.safetensors", "supernet/losses.json"),
        *("search/candidates.jsonl", "search/best.json"),
        *("retrain/settings.json", "retrain/checkpoint.safetensors", "retrain/model.json"),
        *("eval/test.json", "eval/predictions/test.json", "eval/mistakes.json"),
        *("eval/artifact/onnx-fp32.json", "eval/predictions/artifact/onnx-fp32.json"),
        *("export/onnx-fp32/model.onnx", "export/onnx-fp32/manifest.json"),
    }
    first, second = (digits / runs / NAME for runs in (BY_COMMAND, BY_PYTHON))
    for file in same:
        assert (first / file).read_bytes() == (second / file).read_bytes(), file
    files = [sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) for folder in (first, second)]
    assert files[0] == files[1]  # nothing more, nothing less


def test_the_run_says_the_same_of_itself(digits: Path) -> None:
    first, second = (open_run(digits / runs, NAME).description() for runs in (BY_COMMAND, BY_PYTHON))
    assert {**first, "created": None} == {**second, "created": None}
    assert first["origins"]["seed"] == "--seed"


def test_predictions_of_files_are_the_same_to_the_byte(digits: Path, photo_folder: Path) -> None:
    photos = str(photo_folder / "test")
    artifact = BY_COMMAND / NAME / "export" / "onnx-fp32"
    assert command("predict", artifact, photos, "--out", "command.csv", "--top-k", 2).code == 0
    noah.Predictor(BY_PYTHON / NAME / "export" / "onnx-fp32").write(photos, "python.csv", top_k=2)
    assert (digits / "command.csv").read_bytes() == (digits / "python.csv").read_bytes()


def test_the_latest_run_on_a_dataset_is_found_and_tells_what_matters(digits: Path) -> None:
    run = noah.open_run("digits/latest", runs=BY_PYTHON)
    assert run.name == noah.open_run(runs=BY_PYTHON).name == NAME
    winner, tested = run.winner, run.evaluation
    assert winner is not None
    assert tested is not None
    assert winner.subnet == run.subnet
    assert winner.parameters <= 9000 == winner.budget["parameters"]
    assert run.settings.seed == SEED
    assert tested.interval[0] < tested.accuracy < tested.interval[1]
    assert repr(run) == (
        f"<Run digits/first: searched, {winner.accuracy:.1%} of {winner.images} validation images, retrained, "
        f"{tested.accuracy:.2%} ± {tested.standard_error:.2%} on the test split, exported as onnx-fp32>"
    )


@pytest.fixture
def working_folder(tmp_path: Path, tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with the settings of a run of a second, which noah.yaml holds."""
    write_settings(tmp_path, tiny_settings())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_printed_unless_progress_is_wanted(working_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = noah.retrain("lora:1", name="silent")
    assert capsys.readouterr() == ("", "")
    assert repr(run) == "<Run shapes/silent: given subnet, retrained>"
    noah.retrain("lora:1", name="told", progress=True)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert {"settings", "data", "backbone", "run"} <= labels(printed.err)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dataset": "digitz"}, ("--dataset", "digitz")),
        ({"data": "nowhere/"}, ("--data", "nowhere/")),
        ({"list_seed": 7}, ("--list-seed", 7)),
        ({"budget": "params=many"}, ("--budget", "params=many")),
        ({"budget": ["macs=1.1x", "macs=2x"]}, ("--budget", "macs=1.1x", "--budget", "macs=2x")),
        ({"recipe": "none-such"}, ("--recipe", "none-such")),
        ({"time_limit": "soon"}, ("--time-limit", "soon")),
        ({"track": "tensorbord"}, ("--track", "tensorbord")),
        ({"columns": "colour=red"}, ("--columns", "colour=red")),
        ({"config": "missing.yaml"}, ("--config", "missing.yaml")),
        ({"settings": {"search.populaton": 3}}, ("--set", "search.populaton=3")),
        ({"settings": {"search": {"population": 0}}}, ("--set", "search.population=0")),
        ({"device": "tpu"}, ("--device", "tpu")),
        ({"run": "a/b"}, ("--run", "a/b")),
    ],
)
def test_errors_are_those_of_the_command(
    working_folder: Path, options: dict[str, Any], words: tuple[object, ...]
) -> None:
    told = command("search", *words)
    with pytest.raises(noah.errors.NoahError) as raised:
        noah.search(**options)
    assert (told.code, told.err) == (raised.value.exit_code, f"Error: {raised.value}\n")
    assert not (working_folder / "runs").exists()


def test_less_than_one_worker_is_refused(working_folder: Path) -> None:
    with pytest.raises(noah.errors.UsageError, match="workers is 0, but must be at least 1"):
        noah.search(dataset="digits", workers=0)
    assert not (working_folder / "runs").exists()


def test_settings_may_be_nested_or_dotted_and_stand_above_options(working_folder: Path) -> None:
    found = noah.forecast(seed=1, settings={"seed": 2, "search": {"generations": 0}, "search.population": 2})
    assert found.search.steps == 2
    with pytest.raises(noah.errors.SettingsError, match=r"seed: .* \(--set\)"):
        noah.forecast(seed=1, settings={"seed": -2})
    assert not (working_folder / "runs").exists()


def test_a_search_that_was_interrupted_goes_on(working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:

        def stage(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("noah.api.searching.search", stage)
        with pytest.raises(KeyboardInterrupt):
            noah.search(run="first")
    run = noah.open_run()
    assert repr(run) == "<Run shapes/first: search not finished>"
    assert run.winner is None
    winner = run.search()
    assert run.winner == winner == run.search() == run.join()  # a finished search is only read
    whole = noah.search(run="second").path
    assert (run.path / "search" / "best.json").read_bytes() == (whole / "search" / "best.json").read_bytes()
    values = dict(flatten(run.settings.model_dump()))
    assert values == dict(flatten(noah.open_run("shapes/latest").settings.model_dump()))
