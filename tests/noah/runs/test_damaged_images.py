"""The lists of damaged images in the folder of a run: which file is whose, and that none outlives its result."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noah.data.intake import Listed, OpenedTest, write_listing
from noah.data.split import FileSplit
from noah.data.survey import DamagedImage
from noah.runs.damaged_images import keep_damaged, refused_list
from noah.runs.folder import Run
from noah.runs.seals import damaged_list, read_seal, result_place, seal_result

LISTED = (Listed("test", DamagedImage(0, "a.png", "it is empty."), "left out"),)
OPENED = OpenedTest(FileSplit((), np.zeros(0, np.int64)), ("a.png",), 0, 1, (), LISTED)


@pytest.mark.parametrize("parts", [("test.json",), ("on", "sketch.v2.json"), ("artifact", "onnx-fp32.json")])
def test_a_list_is_sealed_with_its_result_and_replaces_a_refusal_s(tmp_path: Path, parts: tuple[str, ...]) -> None:
    run = Run(tmp_path)
    refused, kept = refused_list(run, *parts), damaged_list(run, *parts)
    assert refused is not None and len({refused, kept, run.path("eval", *parts)}) == 3
    write_listing(refused, LISTED)
    keep_damaged(run, OPENED, *parts)
    with kept.open(newline="") as file:
        assert [(row["file"], row["done"]) for row in csv.DictReader(file)] == [("a.png", "left out")]
    assert not refused.exists()
    seal_result(run, *parts)
    assert [file.path for file in read_seal(run, result_place(*parts))] == [kept.relative_to(tmp_path).as_posix()]
    keep_damaged(run, replace(OPENED, listed=()), *parts)
    assert not kept.exists()


def test_a_process_that_does_not_write_writes_no_list(tmp_path: Path) -> None:
    run = Run(tmp_path, writes=False)
    keep_damaged(run, OPENED, "test.json")
    assert refused_list(run, "test.json") is None and list(tmp_path.iterdir()) == []
