"""The file of a pool."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from benchmarks.pool import Entry, pool_file, read_pool
from noah.space.subnet import Subnet


def test_an_entry_is_read_as_it_was_written_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    subnet = Subnet([0, 0], [1, 1], [0, 0])
    made = [
        Entry("lora:8", 0, subnet, 100, 10, "fp32", np.arange(203) % 3 == 0),
        Entry("random 0", 1, subnet, 100, 10, "bf16", np.arange(203) < 199),
    ]
    lines = [json.dumps(one.to_json()) for one in made]
    path = pool_file(tmp_path, "digits", 0)
    path.parent.mkdir()
    path.write_text("\n".join([*lines, lines[0][:30]]))
    read = read_pool(tmp_path, "digits", 0)
    assert [one.to_json() for one in read] == [one.to_json() for one in made]
    assert [one.accuracy for one in read] == [one.accuracy for one in made]
