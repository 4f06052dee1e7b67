"""The sets of versions that noah's tests ran with, and whether what is installed lies among them."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Literal

Standing = Literal["older", "tested", "newer"]

OTHER_NAMES: Mapping[str, tuple[str, ...]] = MappingProxyType({"onnxruntime": ("onnxruntime-gpu",)})
"""Distributions that bring a package's module in its place, of the same versions."""


@dataclass(frozen=True, slots=True)
class VersionSet:
    """Versions that were installed together when the tests ran.

    Attributes:
        name: What the set stands for.
        command: What installs it and runs the tests.
        versions: Python and the main packages -> version.
    """

    name: str
    command: str
    versions: Mapping[str, str]


OLDEST = VersionSet(
    "the oldest that are allowed",
    "make test-lowest",
    MappingProxyType(
        {
            "python": "3.11.7",
            "torch": "2.8.0",
            "torchvision": "0.23.0",
            "timm": "1.0.20",
            "numpy": "2.0.0",
            "onnx": "1.19.0",
            "onnxruntime": "1.22.0",
            "optuna": "4.4.0",
            "pydantic": "2.10.0",
            "huggingface-hub": "0.34.0",
            "safetensors": "0.5.3",
            "pillow": "11.3.0",
            "scikit-learn": "1.7.0",
            "scipy": "1.15.0",
        }
    ),
)
GPU_IMAGE = VersionSet(
    "those of a common image for GPUs",
    "make test-gpu-image",
    MappingProxyType(
        {
            "python": "3.11.7",
            "torch": "2.11.0",
            "torchvision": "0.26.0",
            "timm": "1.0.28",
            "numpy": "2.4.6",
            "onnx": "1.23.1",
            "onnxruntime": "1.30.0",
            "optuna": "5.0.0",
            "pydantic": "2.14.4",
            "huggingface-hub": "2.4.0",
            "safetensors": "0.8.0",
            "pillow": "13.0.0",
            "scikit-learn": "1.9.1",
            "scipy": "1.17.1",
        }
    ),
)
NEWEST = VersionSet(
    "the newest",
    "make test",
    MappingProxyType(
        {
            "python": "3.11.7",
            "torch": "2.15.0",
            "torchvision": "0.29.2",
            "timm": "1.0.31",
            "numpy": "2.4.6",
            "onnx": "1.23.2",
            "onnxruntime": "1.31.1",
            "optuna": "5.0.0",
            "pydantic": "2.14.4",
            "huggingface-hub": "2.4.0",
            "safetensors": "0.8.0",
            "pillow": "13.0.0",
            "scikit-learn": "1.9.1",
            "scipy": "1.17.1",
        }
    ),
)
SETS = (OLDEST, GPU_IMAGE, NEWEST)


@dataclass(frozen=True, slots=True)
class Installed:
    """What is installed of a package, beside what was tested.

    Attributes:
        package: Its name; `python` for Python itself.
        version: As installed.
        oldest: The oldest that the tests ran with.
        newest: The newest of them.
    """

    package: str
    version: str
    oldest: str
    newest: str

    @property
    def standing(self) -> Standing:
        """Whether it lies between the oldest and the newest; of Python, only major and minor version count."""
        parts = 2 if self.package == "python" else None
        found, oldest, newest = (_release(text)[:parts] for text in (self.version, self.oldest, self.newest))
        if found < oldest:
            return "older"
        return "newer" if found > newest else "tested"

    @property
    def tested(self) -> str:
        """The range, as `A to B`, or the one version."""
        return self.oldest if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


def installed() -> list[Installed]:
    """Every main package that is installed, in the order of the sets."""
    found = []
    for package in NEWEST.versions:
        tested = sorted((each.versions[package] for each in SETS), key=_release)
        here = _installed_version(package)
        if here is not None:
            found.append(Installed(package, here, tested[0], tested[-1]))
    return found


def _installed_version(package: str) -> str | None:
    if package == "python":
        return platform.python_version()
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _release(text: str) -> tuple[int, ...]:
    """The numbers of a version: (2, 11, 0) of 2.11.0+cu130, and of 2.11.0a0, which an image may have, too."""
    numbers = re.match(r"\d+(?:\.\d+)*?(?=(?:\.0+)*(?!\.?\d))", text)  # without zeros at the end: 2.0 is 2.0.0
    return tuple(map(int, numbers[0].split("."))) if numbers else ()
