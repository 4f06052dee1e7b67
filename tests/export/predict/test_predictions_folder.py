"""A folder of predictions is gone on with by the same command alone, and each of its parts is there as a whole."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from export.predict.prediction_table import PredictionWriter, name_columns
from export.predict.predictions_folder import (
    FAILURES_FILE,
    PLAN_FILE,
    PartSummary,
    Plan,
    read_parts,
    write_failures,
    write_part,
)
from noah.errors import DataError, UsageError
from noah.files.shared_folder import SharedFolder

OPTIONS = {"--top": "1", "--min-probability": "", "--other": "", "--shard-size": "1000"}
PLAN = Plan("a" * 64, "20 files", "b" * 64, OPTIONS)
SUMMARY = PartSummary(2, 1, (("=broken.png", "it is empty."),), (("a.jpg", "repaired"),))


@pytest.fixture
def folder(tmp_path: Path) -> SharedFolder:
    return SharedFolder(str(tmp_path / "labels"))


def write(folder: SharedFolder, name: str) -> None:
    def rows(writer: PredictionWriter) -> PartSummary:
        writer.write([Path("a.jpg"), Path("b.jpg")], [["cat"], ["dog"]], np.array([[0.5], [0.75]], np.float32))
        return SUMMARY

    write_part(folder, name, name_columns(1, renames=False), rows)


def test_what_is_written_is_read_by_noah_and_by_others(folder: SharedFolder, tmp_path: Path) -> None:
    assert not PLAN.settle(folder)
    for name in ("part-1", "part-0"):
        write(folder, name)
    assert read_parts(folder, ["part-0", "part-1", "part-2"]) == {"part-0": SUMMARY, "part-1": SUMMARY}
    assert write_failures(folder, {"part-0": SUMMARY}) == 1
    table = parquet.read_table(tmp_path / "labels")  # which passes over the other files
    assert table.column_names == ["path", "label", "probability"]
    assert table.column("label").to_pylist() == ["cat", "dog"] * 2
    with (tmp_path / "labels" / FAILURES_FILE).open(newline="") as file:
        assert list(csv.reader(file)) == [["path", "cause"], ["'=broken.png", "it is empty."]]


def test_no_file_of_failures_without_failures(folder: SharedFolder) -> None:
    assert write_failures(folder, {"part-0": replace(SUMMARY, failures=())}) == 0
    assert folder.names() == ()


def test_a_part_that_fails_leaves_nothing(folder: SharedFolder) -> None:
    def fails(writer: PredictionWriter) -> PartSummary:
        writer.write([Path("a.jpg")], [["cat"]], np.array([[0.5]], np.float32))
        raise DataError("the archive is damaged")

    with pytest.raises(DataError):
        write_part(folder, "part-0", name_columns(1, renames=False), fails)
    assert folder.names() == ()


def test_the_same_plan_goes_on(folder: SharedFolder) -> None:
    assert not PLAN.settle(folder)
    assert PLAN.settle(folder)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(PLAN, artifact="c" * 64), "it is for another artifact"),
        (replace(PLAN, inputs="21 files", parts="c" * 64), "it is for 20 files, and now there are 21 files"),
        (replace(PLAN, parts="c" * 64), "other images, or the same in another order or spelling"),
        (replace(PLAN, options=OPTIONS | {"--top": "3"}), "begun with --top 1, and now there is --top 3"),
        (
            replace(PLAN, parts="c" * 64, options=OPTIONS | {"--shard-size": "9"}),
            "begun with --shard-size 1000, and now there is --shard-size 9",
        ),
        (
            replace(PLAN, artifact="c" * 64, options=OPTIONS | {"--min-probability": "0.5", "--other": "none"}),
            "it is for another artifact; it was begun with no --min-probability, and now there is --min-probability "
            "0.5; it was begun with no --other, and now there is --other none",
        ),
    ],
)
def test_another_plan_is_refused_with_everything_that_differs(folder: SharedFolder, other: Plan, told: str) -> None:
    PLAN.settle(folder)
    with pytest.raises(UsageError) as error:
        other.settle(folder)
    assert error.value.problem.endswith(f"cannot be gone on with: {told}.") or told in error.value.problem
    assert "Repeat the command as it was" in error.value.hint
    assert PLAN.settle(folder)


def test_a_folder_of_something_else_is_refused(folder: SharedFolder, tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "photo.png").write_bytes(b"")
    with pytest.raises(UsageError, match="is not empty"):
        PLAN.settle(folder)
    (tmp_path / "file.csv").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        PLAN.settle(SharedFolder(str(tmp_path / "file.csv")))


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", json.dumps({"artifact": "a", "inputs": 1})])
def test_a_damaged_plan_is_told(folder: SharedFolder, tmp_path: Path, content: str) -> None:
    PLAN.settle(folder)
    (tmp_path / "labels" / PLAN_FILE).write_text(content)
    with pytest.raises(DataError, match="is damaged"):
        PLAN.settle(folder)


def test_a_damaged_part_is_told(folder: SharedFolder, tmp_path: Path) -> None:
    write(folder, "part-0")
    file = tmp_path / "labels" / "part-0.parquet"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"part-0\.parquet cannot be read as Parquet"):
        read_parts(folder, ["part-0"])


def test_a_part_that_another_program_wrote_is_told(folder: SharedFolder, tmp_path: Path) -> None:
    write(folder, "part-0")
    file = tmp_path / "labels" / "part-0.parquet"
    parquet.write_table(parquet.read_table(file).replace_schema_metadata(None), file)
    with pytest.raises(DataError, match="was not written by noah predict --ray"):
        read_parts(folder, ["part-0"])
