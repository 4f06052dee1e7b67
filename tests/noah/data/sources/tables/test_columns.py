from __future__ import annotations

import pytest

from noah.data.sources.tables.columns import Columns, choose_columns
from noah.errors import DataError
from noah.settings.settings import ColumnSettings

NONE = ColumnSettings()


@pytest.mark.parametrize(
    ("found", "asked", "chosen"),
    [
        (("path", "label"), NONE, Columns("path", "label")),
        (("Label", "File_Name", "more"), NONE, Columns("File_Name", "Label")),
        (("filename", "class", "Split", "group"), NONE, Columns("filename", "class", "Split", "group")),
        (("path", "file", "label"), ColumnSettings(path="file"), Columns("file", "label")),
        (("path", "label", "name"), ColumnSettings(label="name"), Columns("path", "name")),
        (("path", "label", "patient"), ColumnSettings(group="patient"), Columns("path", "label", group="patient")),
        (("path", "label", "split", "group"), ColumnSettings(split="", group=""), Columns("path", "label")),
        (("file", "label", "group"), ColumnSettings(label="group"), Columns("file", "group")),
        (("", "path", "label", "group"), ColumnSettings(group=""), Columns("path", "label")),
    ],
)
def test_what_is_chosen(found: tuple[str, ...], asked: ColumnSettings, chosen: Columns) -> None:
    assert choose_columns(found, asked, "t.csv") == chosen


def test_every_missing_column_is_told() -> None:
    with pytest.raises(DataError) as caught:
        choose_columns(("a", "b"), ColumnSettings(path="file", group="patient"), "t.csv")
    assert caught.value.problem == (
        "t.csv has no column file and no column patient and no column for the label (label, class, class_name, "
        "category); its columns are: a, b."
    )
    assert "--columns path=NAME,label=NAME" in caught.value.hint


@pytest.mark.parametrize("asked", [ColumnSettings(label=""), ColumnSettings(path="")])
def test_a_column_without_a_name_is_not_taken_for_one_that_was_named(asked: ColumnSettings) -> None:
    with pytest.raises(DataError, match=r"no column for the (path|label)"):
        choose_columns(("", "path", "label"), asked, "t.csv")


def test_the_note_tells_what_each_column_is_for() -> None:
    note = Columns("file", "class", "split", "patient").note("t.csv")
    assert note.startswith("Columns of t.csv: file for the path, class for the label")
    assert note.endswith(", split for the split, patient for the group.")
