"""The environment of the GPU kit: what the machine lacks is told, what is missing is installed, nothing is replaced."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu_environment import (
    NEEDED,
    constraints,
    install,
    make_environment,
    normalized,
    requirements,
    what_the_machine_lacks,
)

MACHINE = {"torch": "2.11.0+cu130", "torchvision": "0.26.0", "numpy": "2.5.2", "pillow": "12.1", "timm": "1.0.28"}


@pytest.mark.parametrize(
    ("changes", "python", "told"),
    [
        ({}, (3, 12), ""),
        ({"torch": "2.15.0a0+gitdeadbee"}, (3, 11), ""),
        ({"torch": "2.9.1"}, (3, 12), "its torch is 2.9.1; the GPU kit needs 2.11 or newer."),
        ({"torch": ""}, (3, 12), "this Python has no torch, which"),
        ({"torch": "", "torchvision": "", "pillow": ""}, (3, 12), "has no torch, torchvision and pillow, which"),
        ({}, (3, 10), "older than 3.11"),
    ],
)
def test_what_the_machine_lacks_is_told_at_once(changes: dict[str, str], python: tuple[int, int], told: str) -> None:
    versions = {name: version for name, version in (MACHINE | changes).items() if version}
    problem = what_the_machine_lacks(versions, python)
    assert told in problem and bool(told) == bool(problem)


def test_the_project_says_which_versions_are_needed() -> None:
    lines = requirements()
    assert [normalized(line.split(">=")[0]) for line in lines] == list(NEEDED)
    assert all(">=" in line for line in lines)


def test_what_comes_with_the_gpu_keeps_its_version() -> None:
    versions = MACHINE | {"nvidia-cublas": "13.4", "triton": "3.6.0", "onnxruntime-gpu": "1.30", "rich": "14.0"}
    fixed = constraints(versions)
    assert "torch==2.11.0+cu130" in fixed and "nvidia-cublas==13.4" in fixed and "onnxruntime-gpu==1.30" in fixed
    assert not any(line.startswith(("timm", "rich")) for line in fixed)


def write_wheel(folder: Path, name: str, version: str) -> None:
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, content in files.items():
            wheel.writestr(path, content)
        wheel.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"]))


@pytest.mark.slow
def test_only_what_is_missing_is_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The tests' own Python is of an environment, whose packages the new one has to see."""
    folder, wheels = tmp_path / "environment", tmp_path / "wheels"
    python = make_environment(folder, {"torch": "2.11.0"})
    assert "making" in capsys.readouterr().out
    made = (folder / "pyvenv.cfg").stat().st_mtime_ns
    assert make_environment(folder, {"torch": "2.11.0"}) == python
    assert (folder / "pyvenv.cfg").stat().st_mtime_ns == made and not capsys.readouterr().out
    code = "import numpy, sys; print(numpy.__file__); print(sys.prefix)"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    seen, prefix = done.stdout.split()
    assert Path(seen).is_relative_to(sys.prefix) and Path(prefix) == folder

    with pytest.raises(SystemExit) as missing:
        install(python, wheels, ["kitprobe>=1.5", "numpy>=2"], [])
    assert "kitprobe" in str(missing.value) and "make gpu-wheels" in str(missing.value)
    write_wheel(wheels, "kitprobe", "1.6")
    write_wheel(wheels, "numpy", "99.0")  # newer than the machine's, and of no use to anyone
    assert install(python, wheels, ["kitprobe>=1.5", "numpy>=2"], []) == f"installed from {wheels}: kitprobe-1.6"
    assert install(python, wheels, ["kitprobe>=1.5", "numpy>=2"], []) == "nothing was missing"
    with pytest.raises(SystemExit, match="numpy"):
        install(python, wheels, ["numpy>=98"], ["numpy==2.4.6"])
