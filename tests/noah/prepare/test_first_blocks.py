from __future__ import annotations

from pathlib import Path

import pytest

from noah.prepare.first_blocks import choose_blocks
from noah.settings.training_settings import AugmentationSettings
from noah.space.subnet import Subnet
from tests.noah.tiny_training import BLOCKS, settings, tiny_supernet

LAST = Subnet(lora=[0, 0, 0, 0, 2, 0])
FLIPS = AugmentationSettings(horizontal_flip=0.5)
MIXED = AugmentationSettings(mixup=0.5)


@pytest.mark.parametrize(
    ("subnet", "drop_path", "augmentation", "epochs", "processes", "blocks", "reason"),
    [
        (Subnet.uniform(BLOCKS, lora=1), 0.0, None, 5, 1, 0, ""),
        (LAST, 0.0, None, 5, 1, 4, "no module is in them"),
        (Subnet.uniform(BLOCKS), 0.0, None, 5, 1, BLOCKS, "no module is in them"),
        (LAST, 0.1, None, 5, 1, 1, "no module is in them; later ones are left out at random"),
        (LAST, 0.0, FLIPS, 5, 1, 0, "no module is in the first 4, but images are augmented"),
        (LAST, 0.0, MIXED, 5, 1, 0, "no module is in the first 4, but images are augmented"),
        (LAST, 0.0, None, 1, 1, 0, "no module is in the first 4, but epochs are too few to gain by it"),
        (LAST, 0.0, None, 2, 2, 0, "no module is in the first 4, but epochs are too few to gain by it"),
    ],
)
def test_which_blocks_are_computed_once(
    tiny_backbone_file: Path,
    subnet: Subnet,
    drop_path: float,
    augmentation: AugmentationSettings | None,
    epochs: int,
    processes: int,
    blocks: int,
    reason: str,
) -> None:
    supernet = tiny_supernet(tiny_backbone_file, subnet, drop_path=drop_path)
    training = settings(epochs=epochs, augmentation=augmentation or AugmentationSettings())
    assert choose_blocks(supernet, training, processes) == (blocks, reason)
