"""The table of versions is that of pyproject.toml and of the constraints, and what is installed is told beside it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from noah.checks import tested_versions
from noah.checks.tested_versions import GPU_IMAGE, NEWEST, OLDEST, SETS, Installed, installed
from tests.lowest import PYPROJECT, bounds

CONSTRAINTS = PYPROJECT.parent / "tests" / "versions" / "gpu_image.txt"


def test_the_oldest_set_is_that_of_the_lower_bounds() -> None:
    allowed = {bound.name.removesuffix("-gpu"): bound.oldest for bound in bounds()}
    packages = set(OLDEST.versions) - {"python"}
    assert {name: Version(OLDEST.versions[name]) for name in packages} == {name: allowed[name] for name in packages}


def test_the_set_of_the_gpu_image_is_that_of_its_constraints() -> None:
    lines = (line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))
    for requirement in map(Requirement, lines):
        assert f"=={GPU_IMAGE.versions[requirement.name.removesuffix('-gpu')]}" == str(requirement.specifier)


def test_every_set_has_the_same_packages_and_none_is_older_than_the_oldest() -> None:
    for each in SETS:
        assert list(each.versions) == list(NEWEST.versions)
        assert all(Version(each.versions[name]) >= Version(OLDEST.versions[name]) for name in each.versions)


def test_commands_of_the_sets_exist() -> None:
    makefile = (PYPROJECT.parent / "Makefile").read_text(encoding="utf-8")
    assert all(f"\n{each.command.removeprefix('make ')}:" in makefile for each in SETS)


def test_what_is_installed_here_is_told_in_order() -> None:
    found = installed()
    assert [each.package for each in found] == list(NEWEST.versions)
    assert found[0].version == platform.python_version()
    assert all(each.standing != "older" for each in found)


@pytest.mark.parametrize(
    ("package", "version", "standing"),
    [
        ("torch", "2.8.0", "tested"),
        ("torch", "2.8", "tested"),
        ("torch", "2.11.0+cu130", "tested"),
        ("torch", "2.11.0a0+gitabcdef", "tested"),
        ("torch", "2.7.1", "older"),
        ("torch", "2.8.0.dev1", "tested"),
        ("torch", "2.15.1", "newer"),
        ("torch", "2.100.0", "newer"),
        ("torch", "10.0", "newer"),
        ("python", "3.11.0", "tested"),
        ("python", "3.11.99", "tested"),
        ("python", "3.12.1", "newer"),
        ("python", "3.10.14", "older"),
    ],
)
def test_where_a_version_lies(package: str, version: str, standing: str) -> None:
    oldest, newest = {"torch": ("2.8.0", "2.15.0"), "python": ("3.11.7", "3.11.7")}[package]
    assert Installed(package, version, oldest, newest).standing == standing


def test_either_distribution_of_onnxruntime_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def only(kept: str) -> None:
        def version(name: str) -> str:
            if name != kept:
                raise PackageNotFoundError(name)
            return "1.25.0"

        monkeypatch.setattr(tested_versions, "version", version)

    for name in ("onnxruntime", "onnxruntime-gpu"):
        only(name)
        assert [(each.package, each.version) for each in installed()[1:]] == [("onnxruntime", "1.25.0")]
    only("none")
    assert [each.package for each in installed()] == ["python"]
