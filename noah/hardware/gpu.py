"""Finds out whether torch can use a GPU of this machine and, where one is there that it cannot use, why not."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_INSTALL = "https://pytorch.org/get-started/locally has the command"
_PCI = Path("/sys/bus/pci/devices")
_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD"}
_GRAPHICS = ("0x03", "0x12")
"""How the class of a graphics card begins on the PCI bus, and that of an accelerator without a display."""


@dataclass(frozen=True, slots=True)
class GpuFacts:
    """What the machine and torch say of GPUs.

    Attributes:
        cards: The makers of the cards on the bus, as far as the system tells: "NVIDIA", "AMD".
        driver: The newest CUDA that NVIDIA's driver supports, as (major, minor); None without a driver.
        torch: The version of torch.
        cuda: The version of CUDA that torch is built for; None if it is built without.
        rocm: The same for AMD's ROCm.
        hidden: The environment variable that hides all GPUs, with its value; empty if none does.
        usable: Whether torch sees a GPU.
        name: The name of the first GPU that torch sees.
        capability: Its compute capability, as (major, minor); None without one.
        architectures: What torch's programs are compiled for, such as sm_90 and compute_120.
    """

    cards: tuple[str, ...] = ()
    driver: tuple[int, int] | None = None
    torch: str = ""
    cuda: str | None = None
    rocm: str | None = None
    hidden: str = ""
    usable: bool = False
    name: str = ""
    capability: tuple[int, int] | None = None
    architectures: tuple[str, ...] = ()


def look_for_gpus() -> GpuFacts:
    """Ask the machine and torch. Torch is imported."""
    import torch

    usable = torch.cuda.is_available()
    return GpuFacts(
        cards_on_bus(),
        _driver(),
        torch.__version__,
        torch.version.cuda,
        torch.version.hip,
        _hidden(),
        usable,
        torch.cuda.get_device_name() if usable else "",
        torch.cuda.get_device_capability() if usable and not torch.version.hip else None,
        tuple(torch.cuda.get_arch_list()) if usable else (),
    )


def why_unused(facts: GpuFacts) -> str:
    """Say why torch cannot use a GPU that is there and what to do, as the end of a sentence.

    Empty if there is none, or if torch can use it.
    """
    if facts.usable:
        return _not_compiled_for(facts)
    if not facts.driver and not facts.cards:
        return ""
    if facts.hidden:
        return f"{facts.hidden} hides every GPU: unset it"
    if facts.driver or "NVIDIA" in facts.cards:
        return _nvidia(facts)
    if not facts.rocm:
        return f"an AMD card is here, but torch {facts.torch} has no ROCm: install one that has it, {_INSTALL}"
    return f"torch {facts.torch} is built for ROCm {facts.rocm}, but finds no AMD GPU: is its driver (amdgpu) loaded?"


def has_nvidia_driver() -> bool:
    """Whether the driver's library can be loaded."""
    return _library() is not None


def why_no_gpu() -> str:
    """Say why no CUDA GPU is usable here, as the end of a sentence; empty if one is.

    Torch is only imported if there is a driver.
    """
    if not has_nvidia_driver():
        return "this machine has no NVIDIA driver"
    try:
        facts = look_for_gpus()
    except ImportError as error:
        return f"torch, which holds the device's memory, cannot be imported ({error})"
    return "" if facts.usable else why_unused(facts) or "torch finds no CUDA GPU"


def gpu_name_and_target() -> tuple[str, str]:
    """Give the first GPU's name and its compute capability, as sm89; call it only if `why_no_gpu` is empty."""
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    return torch.cuda.get_device_name(0), f"sm{major}{minor}"


def cards_on_bus(folder: Path = _PCI) -> tuple[str, ...]:
    """Name the makers of the graphics cards on the PCI bus, each once; empty on systems without that folder.

    Args:
        folder: Where Linux lists the bus.
    """
    found = set()
    for device in folder.glob("*"):
        try:
            kind, vendor = (device / "class").read_text(), (device / "vendor").read_text().strip()
        except OSError:
            continue
        if kind.startswith(_GRAPHICS) and vendor in _VENDORS:
            found.add(_VENDORS[vendor])
    return tuple(sorted(found))


def _nvidia(facts: GpuFacts) -> str:
    if not facts.driver:
        return "an NVIDIA card is here, but no driver: install NVIDIA's, or start the container with --gpus all"
    if not facts.cuda:
        return f"NVIDIA's driver is here, but torch {facts.torch} has no CUDA: install one that has it, {_INSTALL}"
    # Within a major version every driver will do: docs.nvidia.com/deploy/cuda-compatibility.
    if facts.driver[0] < int(facts.cuda.split(".")[0]):
        newest = ".".join(map(str, facts.driver))
        return (
            f"NVIDIA's driver supports CUDA {newest} at most, and torch {facts.torch} needs {facts.cuda}: update the "
            f"driver, or install a torch for CUDA {facts.driver[0]}, {_INSTALL}"
        )
    return (
        "NVIDIA's driver is here, but torch finds no GPU: does nvidia-smi list one? A container needs --gpus all, a "
        "cluster's job has to ask for one"
    )


def _not_compiled_for(facts: GpuFacts) -> str:
    """Whether the programs of the wheel cannot run on the GPU, and what then."""
    if facts.capability is None or runs_on(facts.capability, facts.architectures):
        return ""
    have = ".".join(map(str, facts.capability))
    return (
        f"{facts.name} has compute capability {have}, and torch {facts.torch} is compiled for "
        f"{', '.join(facts.architectures)}: install a torch that has it, {_INSTALL}"
    )


def runs_on(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a GPU can run one of the programs.

    Machine code (sm_80) runs on GPUs of the same major version with as high a minor one, except that of one GPU alone
    (sm_90a); intermediate code (compute_80) on all that are as new. (CUDA C++ Programming Guide, "Application
    Compatibility".)

    Args:
        capability: The GPU's compute capability, as (major, minor).
        architectures: Names as `torch.cuda.get_arch_list` gives them.
    """
    for name in architectures:
        if not (found := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)):
            continue
        kind, made_for, special = found[1], (int(found[2]), int(found[3])), found[4]
        if special == "a":
            fits = capability == made_for
        elif kind == "sm" or special:
            fits = capability[0] == made_for[0] and capability[1] >= made_for[1]
        else:
            fits = capability >= made_for
        if fits:
            return True
    return False


def _hidden() -> str:
    for variable in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"):
        value = os.environ.get(variable)
        if value is not None and value.strip() in ("", "-1"):
            return f"{variable}={value.strip()}"
    return ""


def _library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return None


def _driver() -> tuple[int, int] | None:
    """The newest CUDA that the driver supports; it tells without touching a device."""
    library, version = _library(), ctypes.c_int()
    if library is None or library.cuDriverGetVersion(ctypes.byref(version)) != 0:
        return None
    return version.value // 1000, version.value % 1000 // 10
