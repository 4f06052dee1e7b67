"""What `import noah` offers: every name, loaded when it is used, and the same whatever else has been imported."""

from __future__ import annotations

import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import noah

HEAVY = "torch", "torchvision", "timm", "numpy", "onnx", "onnxruntime"


def test_the_names_are_sorted_and_all_there() -> None:
    assert noah.__all__ == sorted(noah.__all__)
    assert dir(noah) == noah.__all__
    assert all(getattr(noah, name) is not None for name in noah.__all__)


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = f"import sys, noah; noah.errors; sys.exit(str(set({HEAVY!r}) & set(sys.modules)).removeprefix('set()') or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_means_the_same_before_and_after_every_module_has_been_imported() -> None:
    before = {name: getattr(noah, name) for name in noah.__all__}
    for package in ("noah", "export", "noah_cli"):
        for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    for _ in range(2):
        assert {name: getattr(noah, name) for name in noah.__all__} == before
    for name in ("load", "load_backbone", "load_reference", "merge"):
        assert callable(getattr(noah, name))


def test_no_room_is_called_like_a_public_name() -> None:
    rooms = {module.name for module in pkgutil.iter_modules(noah.__path__)}
    assert rooms & set(noah.__all__) == {"errors"}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'super_net'"):
        noah.super_net  # noqa: B018  # the access is what is tested
