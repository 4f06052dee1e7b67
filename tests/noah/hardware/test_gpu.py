from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from noah.hardware.gpu import GpuFacts, cards_on_bus, look_for_gpus, runs_on, why_no_gpu, why_unused

NVIDIA = GpuFacts(cards=("NVIDIA",), driver=(12, 4), torch="2.15.0", cuda="12.6")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (GpuFacts(torch="2.15.0", cuda="13.2"), ()),
        (GpuFacts(torch="2.15.0"), ()),
        (replace(NVIDIA, driver=None), ("no driver", "--gpus all")),
        (replace(NVIDIA, cuda=None), ("torch 2.15.0 has no CUDA", "pytorch.org")),
        (replace(NVIDIA, cards=(), cuda=None), ("torch 2.15.0 has no CUDA",)),
        (replace(NVIDIA, cuda="13.2"), ("CUDA 12.4 at most", "torch 2.15.0 needs 13.2", "a torch for CUDA 12")),
        (replace(NVIDIA, cuda="12.9"), ("finds no GPU", "nvidia-smi")),  # a newer minor version is no obstacle
        (replace(NVIDIA, hidden="CUDA_VISIBLE_DEVICES="), ("CUDA_VISIBLE_DEVICES= hides every GPU: unset it",)),
        (GpuFacts(cards=("AMD",), torch="2.15.0", cuda="13.2"), ("AMD card", "has no ROCm")),
        (GpuFacts(cards=("AMD",), torch="2.15.0", rocm="7.1"), ("ROCm 7.1", "finds no AMD GPU")),
        (replace(NVIDIA, usable=True, capability=(9, 0), architectures=("sm_80", "sm_90")), ()),
        (
            replace(NVIDIA, usable=True, name="Tesla M40", capability=(5, 2), architectures=("sm_75", "sm_80")),
            ("Tesla M40 has compute capability 5.2", "compiled for sm_75, sm_80"),
        ),
        (GpuFacts(cards=("AMD",), torch="2.15.0", rocm="7.1", usable=True), ()),
    ],
)
def test_a_card_that_cannot_be_used_is_explained(facts: GpuFacts, words: tuple[str, ...]) -> None:
    told = why_unused(facts)
    assert bool(told) == bool(words)
    for expected in words:
        assert expected in told
    assert "\n" not in told and not told.endswith(".")


@pytest.mark.parametrize(
    ("capability", "architectures", "runs"),
    [
        ((8, 6), ("sm_80",), True),
        ((8, 0), ("sm_86",), False),
        ((9, 0), ("sm_80", "sm_86"), False),
        ((9, 0), ("sm_80", "compute_80"), True),
        ((9, 0), ("sm_90a",), True),
        ((9, 1), ("sm_90a",), False),
        ((10, 3), ("sm_100f",), True),
        ((12, 0), ("sm_100f",), False),
        ((12, 0), ("sm_120",), True),
        ((7, 0), ("compute_75",), False),
        ((8, 0), ("gfx90a", "nonsense"), False),
        ((8, 0), (), False),
    ],
)
def test_which_programs_run_on_which_gpu(
    capability: tuple[int, int], architectures: tuple[str, ...], runs: bool
) -> None:
    assert runs_on(capability, architectures) == runs


def test_cards_are_found_on_the_bus(tmp_path: Path) -> None:
    devices = [("0x030000", "0x10de"), ("0x120000", "0x1002"), ("0x020000", "0x10de"), ("0x030000", "0x1234")]
    for number, (kind, vendor) in enumerate(devices):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "class").write_text(f"{kind}\n")
        (tmp_path / str(number) / "vendor").write_text(f"{vendor}\n")
    (tmp_path / "gone").mkdir()
    assert cards_on_bus(tmp_path) == ("AMD", "NVIDIA")
    assert cards_on_bus(tmp_path / "absent") == ()


@pytest.mark.parametrize(("value", "hidden"), [("", True), ("-1", True), ("0", False), (None, False)])
def test_what_hides_every_gpu_is_found(monkeypatch: pytest.MonkeyPatch, value: str | None, hidden: bool) -> None:
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv("HIP_VISIBLE_DEVICES", value)
    assert look_for_gpus().hidden == (f"HIP_VISIBLE_DEVICES={value}" if hidden else "")


def test_this_machine_and_its_torch_agree() -> None:
    facts = look_for_gpus()
    assert facts.torch == torch.__version__
    assert bool(why_no_gpu()) == (not torch.cuda.is_available())
