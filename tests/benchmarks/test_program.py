"""A winner as a program: what is timed is the winner, it moves to another device, and the table is in ratios."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.program import load_on, networks, program_rows
from benchmarks.step_ways import CLASSES, Setting, pair
from benchmarks.steps import random_subnets
from export.convert.to_program import PROGRAM_FILE, export_program, save_program
from noah.model.merge import merge

TINY = Setting("tiny", "paper", torch.device("cpu"), 2, "fp32")


def test_the_program_is_the_winner_and_not_the_backbone() -> None:
    found = networks(TINY)
    images, _ = TINY.batch()
    with torch.inference_mode():
        assert found.difference < 1e-5
        assert not torch.allclose(found.program(images), found.backbone(images), atol=1e-2)


def test_nothing_of_a_program_stays_on_the_device_that_it_was_written_on(tmp_path: Path) -> None:
    """Torch's meta device computes shapes alone, and refuses tensors of any other device."""
    network, images = merge(pair(TINY, 0.0)[1].eval(), random_subnets(TINY, 1)[0]), torch.empty(3, 3, 32, 32)
    save_program(export_program(network, height=32, width=32), tmp_path / PROGRAM_FILE, {})
    program = load_on(tmp_path / PROGRAM_FILE, torch.device("meta"))
    assert program(images.to("meta")).shape == (3, CLASSES)
    with pytest.raises(RuntimeError):
        program(images)


def test_a_way_s_speed_is_relative_to_the_backbone_in_its_precision() -> None:
    seconds = {"backbone fp32": [0.4, 0.8], "program fp32": [0.2, 0.4], "backbone bf16": [0.1, 0.1]}
    rows = program_rows({"batch_size": 8, "seconds": seconds})
    assert [row[2] for row in rows] == ["1.00", "2.00", "1.00"]
    assert rows[2][:2] == ["backbone bf16", "80.0"]
