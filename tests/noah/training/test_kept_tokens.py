"""Training on kept tokens takes the same steps as training on images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from noah.evaluation.kept_tokens import KeptTokens, keep_tokens
from noah.hardware.device import Hardware
from noah.model.supernet import Supernet
from noah.settings.training_settings import AugmentationSettings
from noah.space.search_space import make_space
from noah.space.subnet import Subnet
from noah.training.subnet_draws import fair_subnet
from tests.noah.tiny_training import (
    BLOCKS,
    CPU,
    EMBED_DIM,
    PREPROCESSING,
    photo_pixels,
    run_training,
    same_bits,
    settings,
    tiny_supernet,
)

pytestmark = pytest.mark.usefixtures("one_thread")

BF16 = Hardware(torch.device("cpu"), "bf16", 1, ())
PIXELS = photo_pixels(per_class=7)  # batches of 8 leave a smaller one at the end


def kept_for(supernet: Supernet, blocks: int, folder: Path, hardware: Hardware = CPU) -> KeptTokens:
    kept = keep_tokens(
        lambda images: supernet.bare_tokens(images, blocks),
        blocks,
        PIXELS,
        PREPROCESSING,
        hardware,
        8,
        folder=folder,
    )
    assert kept is not None
    return kept


@pytest.mark.parametrize("hardware", [CPU, BF16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    "subnet",
    [
        Subnet.uniform(BLOCKS),
        Subnet(lora=[0, 0, 0, 0, 2, 0], adapter=[0, 0, 0, 0, 0, 3]),
        Subnet(prompt=[0, 0, 2, 0, 1, 0]),
    ],
    ids=["linear", "last two", "prompts"],
)
def test_the_same_bits(subnet: Subnet, hardware: Hardware, tiny_backbone_file: Path, tmp_path: Path) -> None:
    blocks = subnet.bare_blocks
    assert blocks >= 2
    found = []
    for name in ("images", "tokens"):
        supernet = tiny_supernet(tiny_backbone_file, subnet, drop_path=0.0)
        kept = kept_for(supernet, blocks, tmp_path, hardware) if name == "tokens" else None
        losses = run_training(
            supernet,
            tmp_path / name,
            settings(epochs=3),
            pixels=PIXELS,
            draw=lambda _: subnet,
            hardware=hardware,
            kept=kept,
        )
        found.append((losses, supernet.trainable_state()))
    (losses, state), (again, state_again) = found
    assert losses == again
    assert same_bits(state, state_again)


def test_a_supernet_keeps_the_blocks_that_no_subnet_has_a_module_in(tiny_backbone_file: Path, tmp_path: Path) -> None:
    space = make_space(BLOCKS, EMBED_DIM, {"prompt": (1, 3), "lora": (1, 4)}, (1, 3), "last")
    assert space.largest.bare_blocks == 3
    states = []
    for name in ("images", "tokens"):
        supernet = tiny_supernet(tiny_backbone_file, space.largest, drop_path=0.0)
        kept = kept_for(supernet, 3, tmp_path) if name == "tokens" else None
        run_training(
            supernet,
            tmp_path / name,
            settings(epochs=2),
            pixels=PIXELS,
            draw_subnets=lambda step, _: (fair_subnet(space, (0,), step),),
            kept=kept,
        )
        states.append(supernet.trainable_state())
    assert same_bits(*states)


def test_what_changes_from_epoch_to_epoch_is_refused(tiny_backbone_file: Path, tmp_path: Path) -> None:
    subnet = Subnet(lora=[0, 0, 0, 0, 2, 0])
    flips = AugmentationSettings(random_erasing=0.5)
    for drop_path, blocks, augmentation in ((0.1, 2, {}), (0.0, 5, {}), (0.0, 2, {"augmentation": flips})):
        supernet = tiny_supernet(tiny_backbone_file, subnet, drop_path=drop_path)
        kept = kept_for(supernet, blocks, tmp_path)
        with pytest.raises(ValueError, match="not all is the same"):
            run_training(
                supernet,
                tmp_path / "c",
                settings(epochs=1, **augmentation),
                pixels=PIXELS,
                draw=lambda _: subnet,
                kept=kept,
            )
    supernet = tiny_supernet(tiny_backbone_file, subnet, drop_path=0.1)
    run_training(  # the first block is left out by no chance
        supernet,
        tmp_path / "c",
        settings(epochs=1),
        pixels=PIXELS,
        draw=lambda _: subnet,
        kept=kept_for(supernet, 1, tmp_path),
    )
