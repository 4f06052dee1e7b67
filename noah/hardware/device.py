"""What a run computes on: device, precision and threads; each automatic choice comes with a reason."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from noah.errors import UsageError
from noah.hardware.choice import Choice
from noah.hardware.cores import choose_threads
from noah.hardware.gpu import look_for_gpus, why_unused
from noah.hardware.processes import ALONE, Processes, launched_processes
from noah.progress import counted
from noah.settings.settings import HardwareSettings

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """The resolved hardware of a run.

    Args:
        device: The device that tensors live on.
        precision: The precision of matrix products in training and candidate evaluation; weights and optimizer stay
            float32.
        threads: The number of CPU threads that torch uses.
        choices: Which of these were chosen automatically.
        processes: This process among all that the launcher started.
        compiled: Whether training uses compiled blocks.
    """

    device: torch.device
    precision: Precision
    threads: int
    choices: tuple[Choice, ...]
    processes: Processes = ALONE
    compiled: bool = False

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which forward passes run; it casts to bfloat16 if that is the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def to_json(self) -> dict[str, object]:
        """The hardware as written with every result."""
        several = {"processes": self.processes.count} if self.processes.count > 1 else {}
        compiled = {"compiled": True} if self.compiled else {}
        return {"device": str(self.device), "precision": self.precision, "threads": self.threads, **several, **compiled}


def choose_hardware(settings: HardwareSettings, *, threads_before: int | None = None) -> Hardware:
    """Resolve "auto", and set torch's number of threads, the precision of its convolutions, and this process's GPU.

    Args:
        settings: What is asked for.
        threads_before: The threads that a run began with, if it is a run to go on with and nobody asked for a number.

    Raises:
        UsageError: If the requested device is missing or cannot compute in the requested precision, or if there are
            fewer GPUs than processes.
    """
    choices = []
    processes = launched_processes()
    if processes.count > 1:
        choices.append(Choice("processes", str(processes.count), "as the launcher started them; batches are shared"))
    if settings.device == "auto":
        name, reason = _best_device()
        choices.append(Choice("device", name, reason))
    else:
        name = settings.device
    if processes.count > 1 and name == "cuda":
        _take_gpu(processes)
    device = _device(name)
    precision: Precision
    if settings.precision == "auto":
        precision, reason = _best_precision(device)
        choices.append(Choice("precision", precision, reason))
    else:
        precision = settings.precision
    threads = settings.threads
    if not threads:
        cores = choose_threads(before=threads_before)
        threads = cores.count
        choices.append(Choice("threads", str(threads), cores.reason))
    hardware = Hardware(device, precision, threads, tuple(choices), processes, settings.compile)
    set_up(hardware)
    return hardware


def set_up(hardware: Hardware) -> None:
    """Set torch's number of threads and the precision of its convolutions in this process."""
    # fp32 is to mean float32, but cuDNN would round convolutions to TF32's 10 bits.
    torch.backends.cudnn.allow_tf32 = hardware.precision != "fp32"
    torch.set_num_threads(hardware.threads)


def _best_device() -> tuple[str, str]:
    facts = look_for_gpus()
    unused = why_unused(facts)
    if facts.usable and not unused:
        return "cuda", f"{facts.name} is there"
    if torch.backends.mps.is_available():
        return "mps", "an Apple GPU is there"
    return "cpu", f"{unused or 'no GPU is usable'}; {os.cpu_count()} cores, {platform.machine()}"


def _take_gpu(processes: Processes) -> None:
    """Make "cuda" mean the GPU with this process's number on its machine."""
    gpus = torch.cuda.device_count()
    if processes.local_count > gpus:  # all processes notice, so the first one can report it
        raise UsageError(
            f"{processes.local_count} processes were started on this machine, which has {counted(gpus, 'GPUs')}.",
            f"Start as many as GPUs, --nproc-per-node {gpus}, or add --device cpu.",
        )
    torch.cuda.set_device(processes.local_rank)


def _device(name: str) -> torch.device:
    if name.startswith("cuda:"):
        raise UsageError(
            f"The device {name!r} cannot be used: a GPU is not chosen by its number.",
            "Choose the GPU with the environment's CUDA_VISIBLE_DEVICES and --device cuda, or try --device cpu.",
        )
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, ImportError) as error:
        problem = (why_unused(look_for_gpus()) if name == "cuda" else "") or str(error).splitlines()[0].rstrip(".")
        raise UsageError(f"The device {name!r} cannot be used: {problem}.", "Try --device cpu.") from error
    return device


def _best_precision(device: torch.device) -> tuple[Precision, str]:
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU computes it natively, with float32's range"
        return "fp32", "this GPU has no native bfloat16"
    if device.type == "cpu":
        return "fp32", "exact and repeatable; --precision bf16 trains faster on a CPU with AVX512-BF16"
    return "fp32", f"nothing is known about the speed of bfloat16 on {device.type}"
