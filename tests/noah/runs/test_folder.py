from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import CommandOrderError, RunError, RunExistsError, SettingsError, UsageError
from noah.files.bounded import PlainLoader, count_values, dump_yaml
from noah.files.jsonl import read_lines
from noah.hardware.choice import Choice
from noah.runs.folder import Run, create_run, installed_versions, open_run
from noah.runs.listing import list_runs, remove_runs
from noah.settings.layers import Layer, recipe_layer, resolve
from noah.version import __version__


def start(root: Path, name: str | None = "first", dataset: str = "digits", **facts: Any) -> Run:
    settings, origins = resolve([recipe_layer("demo"), Layer(source="--set", values={"seed": 3})])
    choices = [Choice("device", "cpu", "no GPU is usable")]
    return create_run(root, settings, origins, dataset=dataset, name=name, facts=facts, choices=choices)


def test_a_new_run_stores_what_it_was_started_with(tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    run = start(tmp_path / "runs", classes=["café", "鳥"])
    assert run.folder == tmp_path / "runs" / "digits" / "first"
    assert run.name == "digits/first"
    assert [path.name for path in run.folder.iterdir()] == ["run.yaml"]
    description = run.description()
    settings, origins = resolve([recipe_layer("demo"), Layer(source="--set", values={"seed": 3})])
    assert run.settings() == settings
    assert description["origins"] == origins
    assert description["choices"] == [{"what": "device", "value": "cpu", "reason": "no GPU is usable"}]
    assert description["classes"] == ["café", "鳥"]
    assert "café" in run.path("run.yaml").read_text(encoding="utf-8")
    assert (description["noah"], description["dataset"]) == (__version__, "digits")
    assert description["versions"] == installed_versions()
    assert before <= datetime.fromisoformat(description["created"]) <= datetime.now(UTC)


def test_versions_are_those_of_what_is_imported() -> None:
    versions = installed_versions()
    assert versions["torch"] == torch.__version__.split("+")[0]
    assert versions["python"] == sys.version.split()[0]
    assert versions["noah"] == __version__


def test_the_latest_run_is_the_last_one_started(tmp_path: Path) -> None:
    with pytest.raises(CommandOrderError, match="no run under"):
        open_run(tmp_path, None)
    first, second = start(tmp_path, "a", "digits"), start(tmp_path, "b", "cifar100")
    assert (tmp_path / "latest").read_text() == "cifar100/b\n"
    for name in (None, "latest", "cifar100/b", str(second.folder), str(tmp_path / "latest")):
        assert open_run(tmp_path, name) == second
    assert open_run(tmp_path, "digits/a") == first


def test_the_latest_run_on_a_dataset_is_the_last_one_started_there(tmp_path: Path) -> None:
    first = start(tmp_path, "z", "digits")
    second = start(tmp_path, "a", "digits")  # in the same second, most likely
    other = start(tmp_path, "b", "cifar100")
    assert open_run(tmp_path, "digits/latest").folder == second.folder != first.folder
    assert open_run(tmp_path, "cifar100/latest").folder == other.folder
    (second.folder / "run.yaml").write_text("{", encoding="utf-8")  # a damaged one does not hide the others
    assert open_run(tmp_path, "digits/latest").folder == first.folder
    start(tmp_path, "latest", "digits")  # a run of that very name is meant
    assert open_run(tmp_path, "digits/latest").folder == tmp_path / "digits" / "latest"
    for name in ("nowhere/latest", "digits/nowhere", "a/b/latest", "x" * 300, f"digits/{'x' * 300}"):
        with pytest.raises(UsageError, match=f"There is no run {name}"):
            open_run(tmp_path, name)
    (tmp_path / "latest").write_text("x" * 300)
    with pytest.raises(UsageError, match="There is no run xxx"):
        open_run(tmp_path, None)


def test_a_run_without_a_name_is_called_after_the_time(tmp_path: Path) -> None:
    run = start(tmp_path, None)
    started = datetime.strptime(run.folder.name, "%Y%m%d-%H%M%S")
    assert abs((datetime.now() - started).total_seconds()) < 5


def test_runs_of_the_same_second_have_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr("noah.runs.folder.datetime", Stopped)
    names = [start(tmp_path, None).folder.name for _ in range(3)]
    assert names == ["20260102-030405", "20260102-030405-2", "20260102-030405-3"]


def test_an_unknown_run_names_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Start with: noah search"):
        open_run(tmp_path, "digits/a")
    start(tmp_path, "a"), start(tmp_path, "b", "cifar100")
    with pytest.raises(UsageError, match=r"no run digits/c under .*\nThe runs are: cifar100/b, digits/a\.") as caught:
        open_run(tmp_path, "digits/c")
    assert caught.value.exit_code == 2
    (tmp_path / "latest").write_text("digits/gone\n")
    with pytest.raises(UsageError, match="no run digits/gone"):
        open_run(tmp_path, None)


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = start(tmp_path)
    content = run.path("run.yaml").read_bytes()
    with pytest.raises(RunExistsError, match="exists already") as caught:
        start(tmp_path)
    assert caught.value.hint.startswith(f"Go on with it: noah search --resume --run {run.option}.")
    assert run.path("run.yaml").read_bytes() == content
    other = tmp_path / "digits" / "other"
    other.mkdir()
    assert start(tmp_path, "other").folder == other  # an empty folder holds nothing to lose
    (tmp_path / "digits" / "third").mkdir()
    (tmp_path / "digits" / "third" / "notes.txt").touch()
    with pytest.raises(RunExistsError):
        start(tmp_path, "third")


@pytest.mark.parametrize("name", ["digits/first", "a/b", "..", ".", "/", "..\\a"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not a path"):
        start(tmp_path / "runs", name)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"settings: {seed: 1\nnoah: 1\n", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"", "holds no settings"),
        (b"- a\n", "holds no settings"),
        (b"settings: 3\n", "holds no settings"),
        (b"settings: !!python/name:os.system\n", "cannot be read"),
        (b"settings: {}\nchoices: 7\n", "choices"),
        (b"settings: {}\nchoices: [7]\n", "choices"),
        (b"settings: {}\nchoices: [{what: threads}]\n", "choices"),
    ],
)
def test_a_damaged_description_is_told_with_its_file(tmp_path: Path, content: bytes, told: str) -> None:
    run = start(tmp_path)
    run.path("run.yaml").write_bytes(content)
    with pytest.raises(RunError, match=told) as caught:
        run.settings()
    assert str(run.path("run.yaml")) in caught.value.problem


def test_settings_of_another_version_are_told_by_key(tmp_path: Path) -> None:
    run = start(tmp_path)
    description = run.description()
    description["settings"]["supernet"]["epoch"] = 5
    run.path("run.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(SettingsError, match=r"supernet\.epoch: unknown setting .*run\.yaml"):
        run.settings()


def test_json_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    run = start(tmp_path)
    value = {"café": [1, 2.5e-7, None], "ok": True}
    run.write_json(value, "search", "best.json")
    assert run.read_json("search", "best.json") == value
    with pytest.raises(TypeError):
        run.write_json({"a": 1, "b": object()}, "search", "best.json")
    assert run.read_json("search", "best.json") == value
    assert [path.name for path in run.path("search").iterdir()] == ["best.json"]


def test_a_missing_or_damaged_json_file_is_told(tmp_path: Path) -> None:
    run = start(tmp_path)
    with pytest.raises(RunError, match=r"best.json is missing"):
        run.read_json("search", "best.json")
    run.path("best.json").write_text('{"a": 1')
    with pytest.raises(RunError, match=r"best.json is damaged"):
        run.read_json("best.json")


def test_events_are_logged_with_the_time_and_survive_a_torn_line(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.log("search", "started", planned=8)
    with run.path("log.jsonl").open("ab") as file:
        file.write(b'{"time": "2026-01-01')  # an interruption in the middle of a line
    run.log("search", "finished", best={"é": 1})
    first, second = read_lines(run.path("log.jsonl"))
    assert {**first, "time": 0} == {"time": 0, "stage": "search", "event": "started", "planned": 8}
    assert (second["event"], second["best"]) == ("finished", {"é": 1})
    assert datetime.fromisoformat(first["time"]) <= datetime.fromisoformat(second["time"])


def test_the_option_finds_the_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Run(Path("runs/digits/first")).option == "digits/first"
    assert Run(Path("my runs/digits/first")).option == "'my runs/digits/first'"
    for root in (Path("runs"), Path("my runs")):
        run = start(root)
        assert open_run(root, shlex.split(run.option)[0]).folder == run.folder
        assert open_run(Path("runs"), shlex.split(run.option)[0]).folder == run.folder


def test_a_data_set_named_latest_does_not_hide_the_pointer(tmp_path: Path) -> None:
    settings, origins = resolve([])
    run = create_run(tmp_path, settings, origins, dataset="latest", name="first", facts={}, choices=[])
    assert run.name == "latest-images/first"
    assert open_run(tmp_path, None).folder == run.folder


@pytest.mark.parametrize(
    ("dataset", "folder"),
    [
        (".photos", "photos"),
        ("..photos.v2", "photos.v2"),
        (". photos", "photos"),
        ("...", "images"),
        (".latest", "latest-images"),
    ],
)
def test_a_run_on_a_hidden_folder_is_not_hidden(tmp_path: Path, dataset: str, folder: str) -> None:
    run = start(tmp_path, "first", dataset)
    assert (run.name, run.description()["dataset"]) == (f"{folder}/first", folder)
    assert [listed.name for listed in list_runs(tmp_path)] == [run.name]
    for name in (None, "first", run.name, f"{folder}/latest"):
        assert open_run(tmp_path, name) == run
    with pytest.raises(RunExistsError):
        start(tmp_path, "first", dataset)
    start(tmp_path, "second", dataset)
    assert remove_runs(tmp_path, [open_run(tmp_path, "second")]) == run.name


@pytest.mark.parametrize("name", [".first", "...", ".first.1234abcd.removed"])
def test_a_run_cannot_be_named_as_a_hidden_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="would be a hidden folder"):
        start(tmp_path / "runs", name)
    assert list(tmp_path.rglob("*")) == []


def test_an_id_of_several_runs_has_to_be_named_whole(tmp_path: Path) -> None:
    settings, origins = resolve([])
    for dataset in ("apples", "photos"):
        create_run(tmp_path, settings, origins, dataset=dataset, name="a", facts={}, choices=[])
    with pytest.raises(UsageError, match=r"Several runs have the id a\.\n.*apples/a, photos/a"):
        open_run(tmp_path, "a")
    assert open_run(tmp_path, "apples/a").name == "apples/a"


def test_a_run_is_worked_on_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = start(tmp_path)
    with (
        run.lock(),
        pytest.raises(RunError, match="Another process is working on digits/first"),
        Run(run.folder).lock(),
    ):
        pass
    with Run(run.folder).lock():
        pass


def test_a_run_yaml_that_could_not_be_read_again_is_refused_before_its_folder_is_made(tmp_path: Path) -> None:
    for classes, told in (
        (["x" * 60 + str(number) for number in range(20_000)], r"run.yaml would have [0-9,]* bytes, and 1,048,576 are"),
        ([str(number) for number in range(50_000)], r"run.yaml would hold [0-9,]* values, and 50,000 are the most"),
    ):
        with pytest.raises(RunError, match=told) as caught:
            start(tmp_path / "runs", classes=classes)
        assert caught.value.hint
        assert list(tmp_path.iterdir()) == []


def test_the_largest_run_yaml_that_is_written_is_read(tmp_path: Path) -> None:
    many = start(tmp_path, "many", classes=[str(number) for number in range(49_000)])
    assert len(many.description()["classes"]) == 49_000
    long = start(tmp_path, "long", classes=["x" * 1_000_000])
    assert len(long.description()["classes"][0]) == 1_000_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=3),
        lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(max_size=3), values, max_size=4),
        max_leaves=30,
    )
)
def test_values_are_counted_at_writing_as_they_are_at_reading(value: Any) -> None:
    again = [value, value]  # which YAML writes once and names twice
    loader = PlainLoader(dump_yaml(Path("run.yaml"), again))
    assert loader.get_single_data() == again
    assert loader._nodes == count_values(again)


@pytest.mark.parametrize("name", ["caf\udce9", "a\tb", "a\u00a0b", "x" * 2048])
def test_a_run_whose_name_the_file_latest_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    for run, dataset in ((name, "digits"), ("first", name), (None, name)):
        with pytest.raises(UsageError, match="cannot be named") as caught:
            start(tmp_path / "runs", run, dataset)
        assert str(caught.value).encode()
    for run, dataset in (("a ", "digits"), ("first", " a")):
        with pytest.raises(UsageError, match="cannot be named"):
            start(tmp_path / "runs", run, dataset)
    assert list(tmp_path.rglob("*")) == []


def test_a_run_with_the_longest_name_of_a_folder_is_the_latest(tmp_path: Path) -> None:
    run = start(tmp_path, "鳥" * 85, "é" * 127)
    assert open_run(tmp_path, None) == run
