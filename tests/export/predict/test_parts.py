"""The same images give the same parts, other images other ones, and every image is in exactly one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from export.predict.image_tables import ImageTable
from export.predict.parts import Inputs, Part

NAMES = st.lists(st.text("ab/é\udcff.", min_size=1, max_size=6), unique=True, max_size=20).map(tuple)
TABLES = st.lists(st.integers(0, 5), max_size=6).map(lambda rows: (ImageTable("t.parquet", "image", tuple(rows)),))


@given(NAMES, NAMES, TABLES, st.integers(1, 7))
def test_every_image_is_in_one_part(
    files: tuple[str, ...], archives: tuple[str, ...], tables: tuple[ImageTable, ...], size: int
) -> None:
    parts = Inputs(files, archives, tables).divide(size)
    assert [part.number for part in parts] == list(range(len(parts)))
    assert tuple(name for part in parts if part.kind == "files" for name in part.sources) == files
    assert tuple(name for part in parts if part.kind == "archive" for name in part.sources) == archives
    rows = [row for part in parts if part.kind == "table" for row in range(part.first_row, part.first_row + part.rows)]
    assert rows == list(range(sum(tables[0].rows)))
    assert len({part.name for part in parts}) == len(parts)
    assert [part.name for part in Inputs(files, archives, tables).divide(size)] == [part.name for part in parts]


def test_a_name_is_that_of_all_that_is_in_a_part() -> None:
    part = Part(3, "table", ("a", "b"), "image", (0, 2), 0, 8)
    others = [
        replace(part, number=4),
        replace(part, sources=("ab",)),
        replace(part, sources=("b", "a")),
        replace(part, column="picture"),
        replace(part, groups=(0, 3)),
        replace(part, rows=9),
        Part(3, "files", ("a", "b")),
        Part(3, "archive", ("a", "b")),
    ]
    assert len({each.name for each in [part, *others]}) == 9
    assert part.name.startswith("part-00003-")
