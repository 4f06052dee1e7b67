from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu_wheels import MOST_MEBIBYTES, describe


def test_a_folder_that_is_too_large_is_refused(tmp_path: Path) -> None:
    for name, mebibytes in (("small", 1), ("large", MOST_MEBIBYTES - 2)):
        with (tmp_path / f"{name}.whl").open("wb") as file:
            file.truncate(mebibytes * 2**20)  # takes no room on the disk
    assert describe(tmp_path) == f"{tmp_path}: 2 wheels, {MOST_MEBIBYTES - 1:.1f} MiB"
    with (tmp_path / "more.whl").open("wb") as file:
        file.truncate(2 * 2**20)
    with pytest.raises(SystemExit, match=r"3 wheels, 61\.0 MiB, more than the 60 MiB allowed; the largest are large"):
        describe(tmp_path)
