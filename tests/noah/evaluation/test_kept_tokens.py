from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from noah.evaluation.kept_tokens import KeptTokens, keep_tokens
from noah.hardware.device import Hardware
from tests.noah.tiny_training import CPU, PREPROCESSING, photo_pixels

PIXELS = photo_pixels()


def means(images: Tensor) -> Tensor:
    """Tokens (B, 3, 1) that tell images apart."""
    return images.mean(dim=(2, 3))[:, :, None].to(torch.get_autocast_dtype("cpu")) * 1


def kept_by(folder: Path | None, memory: int | None, hardware: Hardware = CPU) -> KeptTokens | None:
    return keep_tokens(means, 2, PIXELS, PREPROCESSING, hardware, 5, folder=folder, memory=memory)


@pytest.mark.parametrize(("memory", "where"), [(None, "in memory"), (0, "in a file")])
def test_tokens_come_back_in_any_order(tmp_path: Path, memory: int | None, where: str) -> None:
    kept = kept_by(tmp_path, memory)
    assert kept is not None
    assert (len(kept), kept.blocks) == (len(PIXELS), 2)
    assert where in kept.where
    images = torch.from_numpy(PIXELS.batch(np.arange(len(PIXELS)))).permute(0, 3, 1, 2).float().div(255)
    expected = means(images.sub(0.5).div(0.5))
    for indices in (np.arange(len(PIXELS)), np.array([3, 0, 3, len(PIXELS) - 1])):
        assert torch.equal(kept.fetch(indices), expected[torch.from_numpy(indices)])


def test_the_file_has_no_name(tmp_path: Path) -> None:
    assert kept_by(tmp_path, 0) is not None
    assert list(tmp_path.iterdir()) == []


def test_without_room_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept_by(None, 0) is None
    monkeypatch.setattr("noah.evaluation.kept_tokens.DISK_SHARE", 0)
    assert kept_by(tmp_path, 0) is None
