"""The source archive and the wheel that is built from it: everything a user needs, and nothing else."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from noah.version import __version__

ROOT = Path(__file__).parents[1]
PACKAGES = ("noah", "noah_cli", "export")
NAME = f"noah_prompt_search-{__version__}"
INSTALLED = """
import pathlib, noah, noah_cli, export
from noah_cli.app import main
for package in (noah, noah_cli, export):
    assert pathlib.Path(package.__file__).is_relative_to({site!r}), package.__file__
raise SystemExit(main(["--json", "recipes"]))
"""


@dataclass(frozen=True)
class Built:
    """The two files of a release, and the copy of the project that they were built from."""

    source: Path
    archive: Path
    wheel: Path

    def of_the_packages(self) -> set[str]:
        return {
            str(path.relative_to(self.source))
            for package in PACKAGES
            for path in (self.source / package).rglob("*")
            if path.is_file()
        }

    def in_wheel(self) -> set[str]:
        return set(zipfile.ZipFile(self.wheel).namelist())

    def in_archive(self) -> set[str]:
        with tarfile.open(self.archive) as file:
            return {member.name.partition("/")[2] for member in file if member.isfile()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built from a copy of the project, as building writes beside the sources."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=_what_is_not_of_the_project)
    command = ("-m", "build", "--no-isolation", "--outdir", str(folder), str(source))
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Built(source, folder / f"{NAME}.tar.gz", folder / f"{NAME}-py3-none-any.whl")


def _what_is_not_of_the_project(folder: str, names: list[str]) -> set[str]:
    left_out = {"__pycache__"} if Path(folder) != ROOT else {"runs", "data", "demo", "build", "dist"}
    return {name for name in names if name in left_out or name.startswith(".") or name.endswith(".egg-info")}


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(built: Built) -> None:
    notes = {f"{NAME}.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt")}
    notes |= {f"{NAME}.dist-info/top_level.txt", f"{NAME}.dist-info/licenses/LICENSE"}
    assert built.in_wheel() == built.of_the_packages() | notes
    assert {f"{package}/py.typed" for package in PACKAGES} <= built.in_wheel()


def test_the_archive_holds_the_packages_and_what_building_needs(built: Built) -> None:
    files = {name for name in built.in_archive() if not name.startswith("noah_prompt_search.egg-info/")}
    beside = {"pyproject.toml", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE", "PKG-INFO", "setup.cfg"}
    assert files == built.of_the_packages() | beside


def test_what_the_wheel_says_of_itself(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        told = wheel.read(f"{NAME}.dist-info/METADATA").decode()
        commands = configparser.ConfigParser()
        commands.read_string(wheel.read(f"{NAME}.dist-info/entry_points.txt").decode())
    assert dict(commands["console_scripts"]) == {"noah": "noah_cli.app:main"}
    assert {"License-Expression: MIT", "License-File: LICENSE", "Requires-Python: >=3.11"} <= set(told.splitlines())


def test_an_unpacked_wheel_works_in_an_empty_folder(built: Built, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    with zipfile.ZipFile(built.wheel) as wheel:
        wheel.extractall(site)
    done = subprocess.run(
        [sys.executable, "-c", INSTALLED.format(site=str(site))],
        cwd=empty,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"few_shot"' in done.stdout
    assert not list(empty.iterdir())
