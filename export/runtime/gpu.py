"""Finds out whether an NVIDIA GPU can be used here and, if not, why; torch is imported only if there is a driver."""

from __future__ import annotations

import ctypes
import sys


def has_nvidia_driver() -> bool:
    """Whether the driver's library can be loaded."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def why_no_gpu() -> str:
    """Say why no CUDA GPU is usable here, as the end of a sentence; empty if one is."""
    if not has_nvidia_driver():
        return "this machine has no NVIDIA driver"
    try:
        import torch
    except ImportError as error:
        return f"torch, which holds the device's memory, cannot be imported ({error})"
    if not torch.cuda.is_available():
        return "torch finds no CUDA GPU"
    return ""


def gpu_name_and_target() -> tuple[str, str]:
    """Give the first GPU's name and its compute capability, as sm89; call it only if `why_no_gpu` is empty."""
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    return torch.cuda.get_device_name(0), f"sm{major}{minor}"
