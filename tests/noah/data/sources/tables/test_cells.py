from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from noah.data.sources.mistakes import Mistakes
from noah.data.sources.tables import cells as cells_module
from noah.data.sources.tables.cells import TABLE_SUFFIXES, open_cells
from noah.errors import DataError, DatasetNotFoundError, MissingPackageError, NoahError
from noah.files.foreign_text import csv_text


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, *wanted: str) -> list[tuple[str, tuple[str | None, ...]]]:
    mistakes = Mistakes(path)
    cells = open_cells(path)
    rows = list(cells.rows(wanted or cells.columns, mistakes))
    mistakes.refuse()
    return rows


def test_a_record_may_leave_out_what_it_has_not(tmp_path: Path) -> None:
    lines = ['{"path": "a.png", "label": "cat"}', "", '{"label": "dog", "path": "b.png", "group": "g"}']
    path = write(tmp_path, "t.jsonl", "\n".join(lines))
    assert open_cells(path).columns == ("path", "label", "group")
    assert read(path) == [("line 1", ("a.png", "cat", None)), ("line 3", ("b.png", "dog", "g"))]


def test_records_with_too_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "_MOST_COLUMNS", 3)
    path = write(tmp_path, "t.jsonl", "".join(f'{{"path": "a.png", "{number}": 1}}\n' for number in range(3)))
    with pytest.raises(DataError, match="more than 3 columns"):
        open_cells(path)


def test_the_same_table_in_every_format(tmp_path: Path) -> None:
    table = {"path": ["a.png", "b c.png"], "label": ["cat", "dög"]}
    rows = [dict(zip(table, row, strict=True)) for row in zip(*table.values(), strict=True)]
    files = [
        write(tmp_path, "t.csv", "path,label\na.png,cat\nb c.png,dög\n"),
        write(tmp_path, "t.tsv", "path\tlabel\na.png\tcat\nb c.png\tdög\n"),
        write(tmp_path, "t.jsonl", "".join(json.dumps(row) + "\n" for row in rows)),
        tmp_path / "t.PARQUET",
    ]
    parquet.write_table(pyarrow.table(table), files[-1])
    assert {file.suffix.lower() for file in files} == TABLE_SUFFIXES
    for file in files:
        assert [found for _, found in read(file, "label", "path")] == [("cat", "a.png"), ("dög", "b c.png")]


@pytest.mark.parametrize(
    "content",
    [
        "path,label\r\na.png,cat\r\n",
        "\ufeffpath,label\na.png,cat",
        "\n path , label \n\n a.png , cat \n,\n",
        "path;label\na.png;cat\n",
        "path\tlabel\na.png\tcat\n",
        'path,label\n"a.png",cat\n',
        "path,label,,\na.png,cat,,\n",
        "path,label\na.png,cat,,\n",
        "path,,label,,x\na.png,1,cat,2,3\n",
        ",,path,label\n0,0,a.png,cat\n",
    ],
)
def test_what_spreadsheets_write(tmp_path: Path, content: str) -> None:
    assert [found for _, found in read(write(tmp_path, "t.csv", content), "path", "label")] == [("a.png", "cat")]


def test_columns_without_a_name_are_not_offered(tmp_path: Path) -> None:
    assert open_cells(write(tmp_path, "t.csv", "path,,label, ,x\n")).columns == ("path", "label", "x")
    assert open_cells(write(tmp_path, "t.jsonl", '{"": 1, "path": "a.png"}\n')).columns == ("path",)
    parquet.write_table(pyarrow.table({"": [1], "path": ["a.png"]}), tmp_path / "t.parquet")
    assert open_cells(tmp_path / "t.parquet").columns == ("path",)


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_what_stands_behind_an_apostrophe_so_that_no_spreadsheet_runs_it(tmp_path: Path, suffix: str) -> None:
    rows = [("@archive/1.png", "-1"), ("'=1.png", "+"), ("'a.png", "'quoted'"), ("\tb.png", "=1,2")]
    path = tmp_path / f"t.{suffix}"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="," if suffix == "csv" else "\t")
        writer.writerow(("path", "label"))
        writer.writerows(map(csv_text, row) for row in rows)
    assert [found for _, found in read(path)] == rows


def test_records_hold_texts_as_they_are(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", json.dumps({"path": "'@a.png", "label": "-1"}))
    assert [found for _, found in read(path)] == [("'@a.png", "-1")]


def test_another_separator_is_told(tmp_path: Path) -> None:
    cells = open_cells(write(tmp_path, "t.csv", "path;label\na;b\n"))
    assert "separated by semicolons, because its first line has no comma" in cells.notes[0]


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'path,label\n\n"two\nlines",cat\na.png,dog\n')
    assert [place for place, _ in read(path)] == ["line 3", "line 5"]


def test_every_wrong_line_is_told(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", "path,label\na,b,c\nok,ok\na\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert caught.value.problem.splitlines() == [
        f"{path} has 2 mistakes:",
        "  line 2: 3 fields, where the first line names 2 columns",
        "  line 4: 1 field, where the first line names 2 columns",
    ]


def test_no_more_than_ten_are_spelled_out(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"path": "a"}\n' + "[]\n" * 25)
    with pytest.raises(DataError) as caught:
        read(path, "path")
    lines = caught.value.problem.splitlines()
    assert len(lines) == 12 and lines[1] == "  line 2: no record: it has no names" and lines[-1] == "  and 15 more"


def test_a_quotation_mark_that_is_never_closed(tmp_path: Path) -> None:
    path = write(tmp_path, "t.csv", 'path,label\na,b\n"c,d\ne,f\n')
    with pytest.raises(DataError, match="line 3: unexpected end of data; nothing after it is read"):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n\n", "is empty"),
        ("t.csv", "path,label\na,b".encode("utf-16"), "is not a UTF-8 text file"),
        ("t.csv", b"path,label,label\n", "has two columns label"),
        ("t.csv", b'"', "unexpected end of data"),
        ("t.csv", b"a," * 20_000, "20,001 columns"),
        ("t.jsonl", b"\n", "is empty"),
        ("t.jsonl", b"path,label\n", "its first line is no record"),
        ("t.jsonl", b"[" * 100_000, "nested too deeply"),
        ("t.parquet", b"PAR1", "cannot be read as Parquet"),
        ("t.parquet", b"", "cannot be read as Parquet"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read(write(tmp_path, name, content))


def test_a_missing_table_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        open_cells(tmp_path / "absent.csv")
    for suffix in sorted(TABLE_SUFFIXES):
        (tmp_path / f"folder{suffix}").mkdir()
        with pytest.raises(DataError):
            open_cells(tmp_path / f"folder{suffix}")


def test_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module, "MOST_ROWS", 2)
    parquet.write_table(pyarrow.table({"path": ["a"] * 3}), tmp_path / "t.parquet")
    paths = [write(tmp_path, "t.csv", "path\na\nb\nc\n"), write(tmp_path, "t.jsonl", '{"path": "a"}\n' * 3)]
    for path in (*paths, tmp_path / "t.parquet"):
        with pytest.raises(DataError, match="more than 2 rows"):
            read(path, "path")


def test_numbers_are_labels_and_other_values_are_not(tmp_path: Path) -> None:
    path = write(tmp_path, "t.jsonl", '{"path": "a", "label": 3}\n{"path": "b", "label": 4.0}\n{"label": NaN}\n')
    with pytest.raises(DataError, match=r"line 3: no path and no label"):
        read(path, "path", "label")
    path = write(tmp_path, "t.jsonl", '{"path": "a", "label": 3}\n{"path": "b", "label": 4.0}\n')
    assert [found for _, found in read(path, "path", "label")] == [("a", "3"), ("b", "4")]
    path = write(tmp_path, "t.jsonl", '{"path": "a", "label": ["cat", "dog"]}\n')
    with pytest.raises(DataError, match="line 1: the label is a list") as caught:
        read(path, "path", "label")
    assert "each image one label" in caught.value.hint
    for wrong in ("1.5", '{"x": 1}', "1e400"):
        path = write(tmp_path, "t.jsonl", f'{{"path": "a", "label": {wrong}}}\n')
        with pytest.raises(DataError, match="line 1: the label is neither text nor a whole number"):
            read(path, "path", "label")


def test_columns_of_parquet_have_to_hold_text_or_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"path": [{"bytes": b"x"}], "label": [1]}), path)
    with pytest.raises(DataError, match="the column path holds struct"):
        read(path, "path", "label")
    words = pyarrow.array(["cat", "cat", None]).dictionary_encode()
    parquet.write_table(pyarrow.table({"path": ["a", "b", "c"], "label": words}), path)
    assert [found for _, found in read(path, "label", "path")] == [("cat", "a"), ("cat", "b"), (None, "c")]


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()])
def test_every_kind_of_text_in_parquet_is_text(tmp_path: Path, kind: pyarrow.DataType) -> None:
    path = tmp_path / "t.parquet"
    texts = ["a.png", "a path that is longer than twelve letters.png"]
    parquet.write_table(pyarrow.table({"path": pyarrow.array(texts, kind)}), path)
    assert [found for _, found in read(path, "path")] == [(text,) for text in texts]


def test_parquet_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackageError) as caught:
        open_cells(write(tmp_path, "t.parquet", b"PAR1"))
    assert "pip install 'noah-prompt-search[parquet]'" in caught.value.hint


def _parquet_bytes() -> bytes:
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.table({"path": ["a.png", "b.png"], "label": ["cat", "dog"]}), sink)
    return bytes(sink.getvalue())


PARQUET = _parquet_bytes()
TEXTS = st.text(alphabet=st.sampled_from('ab,;\t"\\\n\r\0{}[]:1.eé\ud800\ufeff'.replace("\ud800", "")), max_size=80)


@settings(max_examples=300)
@given(
    suffix=st.sampled_from(sorted(TABLE_SUFFIXES - {".parquet"})),
    content=st.one_of(
        st.binary(max_size=200),
        TEXTS.map(str.encode),
        TEXTS.map(lambda text: b"path,label\n" + text.encode()),
        TEXTS.map(lambda text: b"path\tlabel\n" + text.encode()),
        TEXTS.map(lambda text: b'{"path": "a", "label": "b"}\n' + text.encode()),
        st.dictionaries(st.text(max_size=5), st.recursive(st.none() | st.floats() | st.text(), st.lists)).map(
            lambda record: json.dumps({"path": "a", **record}).encode()
        ),
    ),
)
def test_whatever_bytes_a_text_holds_there_is_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = write(tmp_path_factory.getbasetemp(), f"fuzzed{suffix}", content)
    try:
        rows = read(path)
    except NoahError as error:
        assert str(error).encode()  # it can be printed
    else:
        # An apostrophe keeps what stands behind it.
        assert all(cell is None or cell[0] in "\t\r\n" or cell == cell.strip() for _, row in rows for cell in row)


@settings(max_examples=150)
@given(place=st.integers(0, len(PARQUET) - 1), value=st.integers(0, 255), cut=st.integers(0, len(PARQUET)))
def test_a_damaged_parquet_file_gives_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, cut: int
) -> None:
    damaged = bytearray(PARQUET)
    damaged[place] = value
    for content in (bytes(damaged), PARQUET[:cut]):
        path = write(tmp_path_factory.getbasetemp(), "fuzzed.parquet", content)
        try:
            read(path)
        except NoahError as error:
            assert str(error).encode()
