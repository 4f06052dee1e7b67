from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.predict import prediction_table as predictions
from export.predict.prediction_table import open_writer
from noah.errors import MissingPackageError, UsageError
from noah.files.foreign_text import csv_text

PATHS = [Path("photos/a.jpg"), Path('photos/odd, "name".png')]
LABELS = [["dog", "café"], ["鳥", "dog"]]
PROBABILITIES = np.array([[0.123456789, 1e-7], [2 / 3, 1 / 3]], np.float32)


def write(path: Path | None, top_k: int, **options: Any) -> None:
    with open_writer(path, top_k=top_k, **options) as writer:
        writer.write(PATHS, [labels[:top_k] for labels in LABELS], PROBABILITIES[:, :top_k])


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
@pytest.mark.parametrize("top_k", [1, 2])
def test_another_label_hides_no_class(tmp_path: Path, suffix: str, top_k: int) -> None:
    with open_writer(tmp_path / f"out.{suffix}", top_k=top_k, renames=True) as writer:
        writer.write(PATHS, [labels[:top_k] for labels in LABELS], PROBABILITIES[:, :top_k], ["unknown", "鳥"])
    first, second = read(tmp_path / f"out.{suffix}")
    assert (first["label"], second["label"]) == ("unknown", "鳥")
    assert first["probability"] == pytest.approx(0.123457, rel=1e-5)
    if top_k == 1:
        assert len(first) == 3
    elif suffix == "jsonl":
        assert [entry["label"] for entry in first["top"]] == ["dog", "café"]
    else:
        assert list(first)[3:] == ["label_1", "probability_1", "label_2", "probability_2"]
        assert (first["label_1"], first["label_2"], first["probability_1"]) == ("dog", "café", first["probability"])


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of any format, with probabilities as numbers."""
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
        return rows
    with path.open(encoding="utf-8", newline="") as file:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in file]
        return [
            {name: float(cell) if name.startswith("probability") else cell for name, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def test_csv(tmp_path: Path) -> None:
    write(tmp_path / "out.csv", 2)
    assert (tmp_path / "out.csv").read_text(encoding="utf-8") == (
        "path,label,probability,label_2,probability_2\n"
        "photos/a.jpg,dog,0.123457,café,1e-07\n"
        '"photos/odd, ""name"".png",鳥,0.666667,dog,0.333333\n'
    )
    write(tmp_path / "out.csv", 1)
    assert (
        (tmp_path / "out.csv").read_text(encoding="utf-8").startswith("path,label,probability\nphotos/a.jpg,dog,0.12")
    )


def test_json_lines(tmp_path: Path) -> None:
    write(tmp_path / "one.jsonl", 1)
    assert (tmp_path / "one.jsonl").read_text(encoding="utf-8") == (
        '{"path": "photos/a.jpg", "label": "dog", "probability": 0.123457}\n'
        '{"path": "photos/odd, \\"name\\".png", "label": "鳥", "probability": 0.666667}\n'
    )
    write(tmp_path / "two.jsonl", 2)
    assert read(tmp_path / "two.jsonl")[0] == {
        "path": "photos/a.jpg",
        "label": "dog",
        "probability": 0.123457,
        "top": [{"label": "dog", "probability": 0.123457}, {"label": "café", "probability": 1e-07}],
    }


def test_parquet(tmp_path: Path) -> None:
    write(tmp_path / "out.parquet", 2)
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("path", "string"),
        ("label", "string"),
        ("probability", "float"),
        ("label_2", "string"),
        ("probability_2", "float"),
    ]
    assert table["path"].to_pylist() == [str(path) for path in PATHS]
    assert table["label_2"].to_pylist() == ["café", "dog"]
    np.testing.assert_array_equal(table["probability"].to_numpy(), PROBABILITIES[:, 0])


def test_parquet_row_groups_are_written_as_they_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "ROWS_IN_A_GROUP", 10)
    with open_writer(tmp_path / "out.parquet") as writer:
        for start in range(0, 25, 5):
            paths = [Path(str(number)) for number in range(start, start + 5)]
            writer.write(paths, [["a"]] * 5, np.full((5, 1), 0.5, np.float32))
    file = pyarrow.parquet.ParquetFile(tmp_path / "out.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [10, 10, 5]
    assert [row["path"] for row in read(tmp_path / "out.parquet")] == [str(number) for number in range(25)]


def test_no_images_give_an_empty_file_with_its_columns(tmp_path: Path) -> None:
    for suffix in ("csv", "jsonl", "parquet"):
        with open_writer(tmp_path / f"out.{suffix}", top_k=2):
            pass
        assert read(tmp_path / f"out.{suffix}") == []
    assert (tmp_path / "out.csv").read_text() == "path,label,probability,label_2,probability_2\n"
    assert pyarrow.parquet.read_schema(tmp_path / "out.parquet").names[-1] == "probability_2"


@pytest.mark.parametrize("hidden", ["pyarrow", "pyarrow.parquet"])
def test_without_pyarrow_parquet_names_what_to_install_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hidden: str
) -> None:
    monkeypatch.setitem(sys.modules, hidden, None)
    if hidden == "pyarrow.parquet":
        monkeypatch.delattr("pyarrow.parquet")
    (tmp_path / "out.parquet").write_text("before")
    with pytest.raises(MissingPackageError, match=r"pip install 'noah-prompt-search\[parquet\]'"):
        write(tmp_path / "out.parquet", 1)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]
    write(tmp_path / "out.csv", 1)
    assert len(read(tmp_path / "out.csv")) == 2


def test_tables_of_text_load_no_pyarrow() -> None:
    code = "import sys; from export.predict.prediction_table import open_writer; assert 'pyarrow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(rows=st.lists(st.tuples(text, text, st.floats(0, 1, width=32)), max_size=5))
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_any_name_label_and_probability_come_back(
    tmp_path: Path, suffix: str, rows: list[tuple[str, str, float]]
) -> None:
    path = tmp_path / f"out.{suffix}"
    with open_writer(path) as writer:
        for name, label, probability in rows:
            writer.write([Path(name)], [[label]], np.array([[probability]], np.float32))
    found = read(path)
    written = csv_text if suffix == "csv" else str
    assert [(row["path"], row["label"]) for row in found] == [
        (written(str(Path(name))), written(label)) for name, label, _ in rows
    ]
    assert [row["probability"] for row in found] == pytest.approx([probability for *_, probability in rows], rel=1e-5)


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_name_that_is_not_text_stops_nothing(tmp_path: Path, suffix: str) -> None:
    with open_writer(tmp_path / f"out.{suffix}") as writer:
        writer.write([Path(os.fsdecode(b"caf\xe9.jpg"))], [["dog"]], np.ones((1, 1), np.float32))
    assert read(tmp_path / f"out.{suffix}")[0]["path"] == "caf\\xe9.jpg"


def test_standard_output_gets_csv_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    write(None, 1)
    assert capsys.readouterr().out.startswith("path,label,probability\nphotos/a.jpg,dog,0.123457\n")
    write(None, 1, format="jsonl")
    assert json.loads(capsys.readouterr().out.splitlines()[0])["label"] == "dog"
    with pytest.raises(UsageError, match="cannot go to standard output"):
        write(None, 1, format="parquet")


def test_the_format_goes_before_the_suffix(tmp_path: Path) -> None:
    write(tmp_path / "out.txt", 1, format="JSONL")
    assert json.loads((tmp_path / "out.txt").read_text(encoding="utf-8").splitlines()[0])["label"] == "dog"
    write(tmp_path / "OUT.CSV", 1)
    assert (tmp_path / "OUT.CSV").read_text(encoding="utf-8").startswith("path,label")


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csv.gz", ".csv"])
def test_an_unknown_suffix_lists_the_three(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"The suffix of .*\nSuffixes: \.csv, \.jsonl, \.parquet\."):
        write(tmp_path / name, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_lists_the_three(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'xml'\.\nFormats: csv, jsonl, parquet\."):
        write(tmp_path / "out.csv", 1, format="xml")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_interrupted_run_leaves_what_was_there(
    tmp_path: Path, suffix: str, interruption: type[BaseException]
) -> None:
    path = tmp_path / f"out.{suffix}"
    path.write_text("before")
    with pytest.raises(interruption), open_writer(path) as writer:
        writer.write(PATHS, [["a"], ["b"]], PROBABILITIES[:, :1])
        raise interruption
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_the_folder_is_made(tmp_path: Path) -> None:
    write(tmp_path / "new" / "folder" / "out.csv", 1)
    assert len(read(tmp_path / "new" / "folder" / "out.csv")) == 2


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "target.csv").touch()
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    write(tmp_path / "link.csv", 1)
    assert (tmp_path / "link.csv").is_symlink()
    assert len(read(tmp_path / "target.csv")) == 2


def test_what_cannot_be_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=r"folder\.csv is not a file"):
        write(tmp_path / "folder.csv", 1)
    with pytest.raises(UsageError, match="is not a file"):
        write(Path(os.devnull), 1, format="csv")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"Cannot make the folder .*file"):
        write(tmp_path / "file" / "out.csv", 1)


def test_at_least_one_label_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="top_k is 0"):
        write(tmp_path / "out.csv", 0)


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_spreadsheet_runs_a_label_or_a_path(tmp_path: Path, name: str) -> None:
    probabilities = np.array([[0.5, 1e-7]], np.float32)
    for suffix in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"out.{suffix}"
        with open_writer(path, top_k=2) as writer:
            writer.write([Path(f"{name}.jpg")], [[name, "dog"]], probabilities)
        (row,) = read(path)
        mark = "'" if suffix == "csv" else ""  # the others hold text that is known to be text
        assert (row["path"], row["label"]) == (f"{mark}{name}.jpg", f"{mark}{name}")
        assert row["probability"] == 0.5
