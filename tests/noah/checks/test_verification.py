"""What `noah verify` finds of tests on other datasets, and the command that it suggests."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from noah.checks.verification import Check, check_run
from noah.runs.folder import Run, create_run
from noah.runs.seals import result_place, seal_result, seal_start
from noah.settings.layers import resolve


@pytest.fixture
def run(tmp_path: Path) -> Run:
    settings, origins = resolve([])
    run = create_run(tmp_path, settings, origins, dataset="shapes", name="first", facts={}, choices=[])
    seal_start(run)
    return run


def measured(run: Run, name: str, source: str) -> None:
    """Store a test on another dataset, as `noah eval --on` does."""
    run.write_json({"split": name, "source": source}, "eval", "on", f"{name}.json")
    seal_result(run, "on", f"{name}.json")


def check_of_seal(run: Run, name: str) -> Check:
    (check,) = (check for check in check_run(run) if check.what == f"seal of {'/'.join(result_place('on', name))}")
    return check


@pytest.mark.skipif(os.name == "nt", reason="no name of a folder holds these signs there")
@pytest.mark.parametrize("name", ["photos 12:30", "a\\b"])
def test_a_test_on_a_folder_of_any_name_is_whole(run: Run, name: str) -> None:
    measured(run, name, f"/data/{name}")
    assert check_of_seal(run, name).state == "ok"


@pytest.mark.parametrize(
    ("name", "source", "typed"),
    [
        ("other photos", "/data/other photos", "/data/other photos"),
        ("it's $1", "/data/it's $1", "/data/it's $1"),
        ("photos-test", "/data/photos/test", "/data/photos/test"),
        ("imagenet-a", "/data/imagenet-a", "/data/imagenet-a"),
        ("imagenet-a", "/data/imagenet-adversarial", "imagenet-a"),  # the path would name another result
        ("rendered_digits", "rendered_digits", "rendered_digits"),
    ],
)
def test_the_command_that_measures_again_names_what_was_measured(run: Run, name: str, source: str, typed: str) -> None:
    measured(run, name, source)
    path = run.path("eval", "on", f"{name}.json")
    path.write_bytes(path.read_bytes() + b"\n")
    check = check_of_seal(run, name)
    assert check.state == "failed"
    assert shlex.split(check.following) == ["noah", "eval", "--on", typed, "--again", "--run", str(run.folder)]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"source": 3}'])
def test_without_a_source_the_command_names_the_result(run: Run, content: str) -> None:
    measured(run, "other photos", "/data/other photos")
    run.path("eval", "on", "other photos.json").write_text(content)
    assert check_of_seal(run, "other photos").following.startswith("noah eval --on 'other photos' --again --run ")
