"""Which package builds engines, for which GPUs, and why."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from export.runtime import tensorrt_package
from export.runtime.tensorrt_package import PORTABLE_TARGETS, choose_builder, known_targets, load_package, parse_targets
from noah.errors import MissingPackageError, UsageError

RTX = load_package("tensorrt-rtx")


def install_tensorrt(monkeypatch: pytest.MonkeyPatch, *, gpu: bool) -> None:
    """The vendor's package, which no index has, and perhaps a GPU."""
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="11.0.0"))
    monkeypatch.setattr(tensorrt_package, "why_no_gpu", lambda: "" if gpu else "torch finds no CUDA GPU")
    monkeypatch.setattr(tensorrt_package, "gpu_name_and_target", lambda: ("NVIDIA L4", "sm89"))


def test_where_tensorrt_is_not_installed_rtx_builds_the_portable_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    builder = choose_builder("fp16", None)
    assert (builder.package, builder.version) == ("tensorrt-rtx", RTX.__version__)
    assert builder.targets == ("sm75", "sm80", "sm86", "sm89", "sm120")
    assert builder.reason == "it needs no GPU to build, and tensorrt is not installed"
    assert choose_builder("bf16", None).targets == ("sm80", "sm86", "sm89", "sm120")


def test_where_there_is_no_gpu_rtx_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    install_tensorrt(monkeypatch, gpu=False)
    builder = choose_builder("fp16", None)
    assert builder.package == "tensorrt-rtx"
    assert builder.reason == "tensorrt needs a GPU to build, and torch finds no CUDA GPU"


def test_where_there_is_a_gpu_tensorrt_builds_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    install_tensorrt(monkeypatch, gpu=True)
    builder = choose_builder("bf16", None)
    assert (builder.package, builder.version, builder.targets) == ("tensorrt", "11.0.0", ("sm89",))
    assert builder.reason == "it is installed, and NVIDIA L4 is here"


def test_named_targets_are_built_ahead_of_time_even_beside_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install_tensorrt(monkeypatch, gpu=True)
    builder = choose_builder("fp16", ("sm120", "sm89", "sm120"))
    assert (builder.package, builder.targets) == ("tensorrt-rtx", ("sm120", "sm89"))
    assert builder.reason == "--target asks for engines built ahead of time"


def test_a_package_that_is_missing_or_broken_says_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(MissingPackageError, match=r"^tensorrt-rtx is not installed\.\nType: pip install tensorrt-rtx"):
        choose_builder("fp16", ("sm89",))

    def fail(name: str) -> Any:
        raise RuntimeError("libcudart.so.13:\ncannot open")

    monkeypatch.setattr(tensorrt_package.importlib, "import_module", fail)
    with pytest.raises(MissingPackageError, match=r"^tensorrt cannot be loaded: libcudart\.so\.13: cannot open\.\n"):
        load_package("tensorrt")


@pytest.mark.parametrize(
    ("precision", "targets", "problem"),
    [
        ("fp16", ("sm89", "sm61"), "tensorrt-rtx does not support --target sm61."),
        ("fp16", ("sm90",), "tensorrt-rtx does not support Hopper (sm90)."),
        ("bf16", ("sm75",), "sm75 does not support bf16."),
    ],
)
def test_targets_that_cannot_be_built_for(precision: Any, targets: tuple[str, ...], problem: str) -> None:
    with pytest.raises(UsageError) as raised:
        choose_builder(precision, targets)
    assert raised.value.problem == problem
    assert raised.value.hint


def test_the_portable_sets_are_known_to_the_installed_package() -> None:
    known = known_targets(RTX)
    assert all(set(targets) <= set(known) for targets in PORTABLE_TARGETS.values())
    assert list(known) == sorted(known, key=lambda name: int(name[2:]))


@pytest.mark.parametrize("text", ["sm89,sm120", "SM89, sm_120", "8.9,12.0", "89,120"])
def test_spellings_of_targets(text: str) -> None:
    assert parse_targets(text) == ("sm89", "sm120")
