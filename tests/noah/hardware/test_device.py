from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from noah.errors import UsageError
from noah.hardware import device
from noah.hardware.choice import Choice
from noah.hardware.device import Hardware, choose_hardware
from noah.hardware.gpu import GpuFacts
from noah.settings.settings import HardwareSettings


@pytest.fixture(autouse=True)
def _threads_restored(one_thread: None) -> Iterator[None]:
    yield


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.usefixtures("without_gpu")
def test_everything_automatic_is_chosen_with_a_reason() -> None:
    hardware = choose_hardware(HardwareSettings())
    assert (hardware.device, hardware.precision, hardware.threads) == (torch.device("cpu"), "fp32", 1)
    assert [(choice.what, choice.value) for choice in hardware.choices] == [
        ("device", "cpu"),
        ("precision", "fp32"),
        ("threads", "1"),
    ]
    assert "no GPU" in hardware.choices[0].reason
    assert all(choice.reason for choice in hardware.choices)
    assert str(Choice("device", "cpu", "it is there")) == "device: cpu (it is there)"


def test_what_is_given_is_taken_and_is_no_choice() -> None:
    hardware = choose_hardware(HardwareSettings(device="cpu", precision="bf16", threads=2))
    assert (hardware.device, hardware.precision, hardware.threads) == (torch.device("cpu"), "bf16", 2)
    assert torch.get_num_threads() == 2
    assert hardware.choices == ()


@pytest.mark.usefixtures("without_gpu")
def test_a_gpu_that_cannot_be_used_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = GpuFacts(cards=("NVIDIA",), driver=(12, 4), torch="2.15.0", cuda=None)
    monkeypatch.setattr(device, "look_for_gpus", lambda: facts)
    chosen = choose_hardware(HardwareSettings(threads=1))
    assert chosen.choices[0].value == "cpu"
    assert chosen.choices[0].reason.startswith("NVIDIA's driver is here, but torch 2.15.0 has no CUDA: install one")
    with pytest.raises(UsageError, match=r"'cuda' cannot be used: NVIDIA's driver is here, but torch 2\.15\.0 has no"):
        choose_hardware(HardwareSettings(device="cuda"))
    old = GpuFacts(usable=True, name="Tesla M40", capability=(5, 2), architectures=("sm_75",))
    monkeypatch.setattr(device, "look_for_gpus", lambda: old)
    chosen = choose_hardware(HardwareSettings(threads=1))
    assert chosen.choices[0].value == "cpu" and "has compute capability 5.2" in chosen.choices[0].reason


@pytest.mark.parametrize(
    ("native", "precision", "reason"),
    [(True, "bf16", "natively"), (False, "fp32", "no native bfloat16")],
)
def test_a_gpu_computes_in_bfloat16_where_it_does_so_natively(
    monkeypatch: pytest.MonkeyPatch, native: bool, precision: str, reason: str
) -> None:
    """The rule alone; that a GPU then works is for a machine that has one."""
    monkeypatch.setattr(device, "look_for_gpus", lambda: GpuFacts(usable=True, name="a GPU"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    monkeypatch.setattr("noah.hardware.device._device", lambda name: torch.device(name))
    hardware = choose_hardware(HardwareSettings(threads=1))
    assert (hardware.device.type, hardware.precision) == ("cuda", precision)
    assert hardware.choices[0].reason == "a GPU is there"
    assert reason in hardware.choices[1].reason


@pytest.mark.parametrize("device", ["tpu", "", "cpu:x", "cuda:99", "cuda:-1", "xpu", "vulkan", "meta", "hpu", "CPU"])
def test_a_device_that_cannot_be_used_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match=r"--device cpu") as caught:
        choose_hardware(HardwareSettings(device=device))
    assert caught.value.problem.startswith(f"The device {device!r} cannot be used: ")
    assert len(caught.value.problem.splitlines()) == 1


def test_autocast_covers_matrix_products_only_below_fp32() -> None:
    a = torch.randn(4, 4)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        hardware = Hardware(torch.device("cpu"), precision, 1, ())  # type: ignore[arg-type]
        with hardware.autocast():
            assert (a @ a).dtype == dtype
        assert (a @ a).dtype == torch.float32


def test_a_gpu_is_chosen_by_the_environment_not_by_its_number() -> None:
    with pytest.raises(UsageError) as caught:
        choose_hardware(HardwareSettings(device="cuda:1"))
    assert "CUDA_VISIBLE_DEVICES" in caught.value.hint
