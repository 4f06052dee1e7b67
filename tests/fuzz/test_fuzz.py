"""No file, however damaged or made to do harm, ends in a traceback, a hang, or more than 2 GiB of memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.finished import Finished
from tests.fuzz.campaign import defects, run_campaign, seed_from_environment, table
from tests.fuzz.readers import READERS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is measured through /proc")


@pytest.mark.slow
def test_a_share_of_the_damaged_files(finished: Finished, tiny_backbone_file: Path, tmp_path: Path) -> None:
    counts = run_campaign(finished.folder, tiny_backbone_file, tmp_path, seed=0, share=0.05)
    assert not defects(counts), defects(counts)
    assert all(count.read for count in counts.values()), table(counts)  # the real files, at least
    assert sum(count.total for count in counts.values()) > 100


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_all_damaged_files(finished: Finished, tiny_backbone_file: Path, tmp_path: Path) -> None:
    """`make fuzz`; NOAH_FUZZ_SEED and NOAH_FUZZ_SHARE choose other damage and more of it."""
    share = float(os.environ.get("NOAH_FUZZ_SHARE", "1"))
    counts = run_campaign(
        finished.folder, tiny_backbone_file, tmp_path, seed=seed_from_environment(), share=share, readers=tuple(READERS)
    )
    print(f"\n{table(counts)}")
    assert not defects(counts), defects(counts)
    assert all(count.read for count in counts.values())  # the real files, at least
    assert sum(count.total for count in counts.values()) >= 2000
