from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from noah.errors import RunError
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet
from noah.training.checkpoint import load_weights, read_checkpoint, restore, save_checkpoint
from tests.noah.tiny_training import BLOCKS, same_bits, tiny_supernet

pytestmark = pytest.mark.usefixtures("one_thread")


def optimizer_of(supernet: Supernet) -> torch.optim.AdamW:
    used = [p for p in supernet.parameters() if p.requires_grad and p.numel()]
    return torch.optim.AdamW(used, lr=1e-2)


def step(supernet: Supernet, optimizer: torch.optim.Optimizer, subnet: Subnet, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    images = torch.randn(4, 3, 32, 32, generator=generator)
    optimizer.zero_grad()
    F.cross_entropy(supernet(images, subnet), torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()


def moments(supernet: Supernet, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{moment}/{name}": value
        for name, parameter in supernet.named_parameters()
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


@pytest.fixture
def trained(tiny_backbone_file: Path) -> tuple[Supernet, torch.optim.AdamW]:
    """Three steps; the first blocks' prompts and the last blocks' adapters have never been used."""
    supernet = tiny_supernet(tiny_backbone_file).eval()
    optimizer = optimizer_of(supernet)
    subnet = Subnet([0] * BLOCKS, [1, 4, 1, 4, 1, 4], [2, 4, 2, 4, 0, 0])
    for number in range(3):
        step(supernet, optimizer, subnet, number)
    return supernet, optimizer


def test_weights_moments_and_losses_come_back_bit_for_bit(
    trained: tuple[Supernet, torch.optim.AdamW], tiny_backbone_file: Path, tmp_path: Path
) -> None:
    supernet, optimizer = trained
    path = tmp_path / "supernet" / "checkpoint.safetensors"
    losses = [1.2345678901234567, 0.1, 1e-17]
    save_checkpoint(path, supernet, optimizer, losses)
    assert [file.name for file in path.parent.iterdir()] == [path.name]

    stored = read_checkpoint(path)
    assert stored.losses == tuple(losses)
    assert same_bits(stored.weights, supernet.trainable_state())
    other = tiny_supernet(tiny_backbone_file, seed=9).eval()
    other_optimizer = optimizer_of(other)
    assert not same_bits(other.trainable_state(), supernet.trainable_state())
    restore(stored, other, other_optimizer)
    assert same_bits(other.trainable_state(), supernet.trainable_state())
    assert same_bits(moments(other, other_optimizer), moments(supernet, optimizer))
    assert {key.split("/")[0] for key in moments(supernet, optimizer)} == {"step", "exp_avg", "exp_avg_sq"}

    for number in range(3, 5):
        for net, its_optimizer in (trained, (other, other_optimizer)):
            step(net, its_optimizer, Subnet.uniform(BLOCKS, prompt=3, lora=2, adapter=3), number)
    assert same_bits(other.trainable_state(), supernet.trainable_state())
    assert same_bits(moments(other, other_optimizer), moments(supernet, optimizer))


@pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")
@pytest.mark.parametrize("fused", [False, True])
def test_each_moment_comes_to_the_device_where_the_optimizer_wants_it(
    trained: tuple[Supernet, torch.optim.AdamW], tmp_path: Path, fused: bool
) -> None:
    """A GPU's fused AdamW counts its steps there; the device `meta`, which has no numbers, stands for one."""
    supernet, optimizer = trained
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, supernet, optimizer, [0.5])
    stored = read_checkpoint(path)
    supernet.to("meta")
    away, by_torch = optimizer_of(supernet), optimizer_of(supernet)
    for each in (away, by_torch):
        for group in each.param_groups:
            group["fused"] = fused
    restore(stored, supernet, away)
    state = {
        index: stored.moments[name]
        for index, name in enumerate(n for n, p in supernet.named_parameters() if p.requires_grad and p.numel())
        if name in stored.moments
    }
    by_torch.load_state_dict({"state": state, "param_groups": by_torch.state_dict()["param_groups"]})
    places = {key: value.device.type for key, value in moments(supernet, away).items()}
    assert places == {key: value.device.type for key, value in moments(supernet, by_torch).items()}
    assert {place for key, place in places.items() if key.startswith("step/")} == {"meta" if fused else "cpu"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of a file")
def test_where_it_cannot_be_written_the_system_says_why_and_the_earlier_one_stays(
    trained: tuple[Supernet, torch.optim.AdamW], tmp_path: Path
) -> None:
    import resource

    path = tmp_path / "c.safetensors"
    save_checkpoint(path, *trained, [0.5])
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_checkpoint(path, *trained, [0.5, 0.4])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_backbone_is_not_stored(trained: tuple[Supernet, torch.optim.AdamW], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, *trained, [])
    assert not [name for name in load_file(path) if "backbone" in name]


def test_modules_that_are_absent_are_no_obstacle(tiny_backbone_file: Path, tmp_path: Path) -> None:
    largest = Subnet([0] * BLOCKS, [4, 4, 0, 0, 0, 0], [0, 2, 0, 2, 0, 0])
    supernet, path = tiny_supernet(tiny_backbone_file, largest).eval(), tmp_path / "checkpoint.safetensors"
    optimizer = optimizer_of(supernet)
    step(supernet, optimizer, largest, 0)
    save_checkpoint(path, supernet, optimizer, [1.0])
    other = tiny_supernet(tiny_backbone_file, largest, seed=3)
    load_weights(read_checkpoint(path), other)
    assert same_bits(other.trainable_state(), supernet.trainable_state())


@pytest.mark.parametrize(
    ("largest", "classes", "told"),
    [
        (Subnet.uniform(BLOCKS, prompt=3, lora=2, adapter=4), 3, "loras"),
        (Subnet.uniform(BLOCKS, prompt=0, lora=4, adapter=4), 3, "prompts"),
        (None, 4, "head"),
    ],
)
def test_a_checkpoint_of_another_supernet_is_refused_by_name(
    trained: tuple[Supernet, torch.optim.AdamW],
    tiny_backbone_file: Path,
    tmp_path: Path,
    largest: Subnet | None,
    classes: int,
    told: str,
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, *trained, [0.5])
    other = tiny_supernet(tiny_backbone_file, largest, num_classes=classes)
    with pytest.raises(RunError, match=rf"does not fit this run's modules: .*{told}"):
        restore(read_checkpoint(path), other, optimizer_of(other))


def test_missing_and_unknown_weights_are_refused_by_name(
    trained: tuple[Supernet, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, *trained, [0.5])
    tensors = load_file(path)
    tensors["weights/other"] = tensors.pop("weights/head.bias")
    save_file(tensors, path, metadata={"losses": "[0.5]"})
    with pytest.raises(RunError, match=r"do not fit the modules: head.bias, other"):
        load_weights(read_checkpoint(path), trained[0])


def test_a_missing_or_damaged_file_is_told_with_its_path(
    trained: tuple[Supernet, torch.optim.AdamW], tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(RunError, match=r"checkpoint.safetensors is missing"):
        read_checkpoint(path)
    save_checkpoint(path, *trained, [0.5])
    content = path.read_bytes()
    for damaged in (b"", content[:100], content[:-1], b"PK\x03\x04" + content[4:]):
        path.write_bytes(damaged)
        with pytest.raises(RunError, match=r"checkpoint.safetensors cannot be read") as caught:
            read_checkpoint(path)
        assert caught.value.hint == "Start a new run."


@pytest.mark.parametrize("metadata", [None, {}, {"losses": "[0.5"}, {"losses": "3"}, {"losses": '["a"]'}])
def test_a_file_without_losses_is_no_checkpoint(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "checkpoint.safetensors"
    save_file({"weights/head.bias": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(RunError, match=r"checkpoint.safetensors cannot be read"):
        read_checkpoint(path)
