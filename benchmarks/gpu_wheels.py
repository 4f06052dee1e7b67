"""Fills the folder of wheels that `make gpu` installs from on a machine without a network.

    python -m benchmarks.gpu_wheels [--python-version 3.12] [--out gpu-wheels]

Takes the newest versions that `pyproject.toml` allows, for Linux on x86-64 and the version of Python that is named, and
leaves out what the machine has to have: torch and what comes with it. Fails if the folder exceeds `MOST_MEBIBYTES`.
Needs pip and uv.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.gpu_environment import OF_THE_MACHINE, requirements

MOST_MEBIBYTES = 60
"""As much as is still quick to copy to a machine."""
GLIBC = (28, 27, 26, 24, 17)
"""Minor versions of the C library that wheels are built for and every machine of the last years has."""


def main() -> None:
    """Fill the folder, and print its size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python-version", default="3.12")
    parser.add_argument("--out", type=Path, default=Path("gpu-wheels"))
    arguments = parser.parse_args()
    for old in arguments.out.glob("*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        download(pinned(Path(folder), arguments.python_version), arguments.out, arguments.python_version)
    print(describe(arguments.out))


def pinned(folder: Path, python: str) -> Path:
    """Write the versions of everything that is needed, without what the machine has, to a file in the folder."""
    needed, without, pins = folder / "needed.txt", folder / "without.txt", folder / "pins.txt"
    needed.write_text("\n".join(requirements()), encoding="utf-8")
    without.write_text("\n".join(f"{name} ; sys_platform == 'never'" for name in OF_THE_MACHINE), encoding="utf-8")
    system = f"x86_64-manylinux_2_{max(GLIBC)}"
    options = ["--no-python-downloads", "--no-annotate", "--no-header", "--only-binary", ":all:"]
    target = ["--python-version", python, "--python-platform", system, "--override", str(without)]
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", *options, *target, str(needed), "-o", str(pins)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return pins


def download(pins: Path, out: Path, python: str) -> None:
    """Download the wheels of these versions."""
    platforms = [*(f"manylinux_2_{minor}_x86_64" for minor in GLIBC), "manylinux2014_x86_64"]
    abis = ["cp" + python.replace(".", ""), "abi3", "none"]
    target = [*(f"--platform={each}" for each in platforms), *(f"--abi={each}" for each in abis)]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    wheels_only = ["--only-binary=:all:", f"--python-version={python}", "--implementation=cp"]
    subprocess.run([*command, *wheels_only, *target, "-r", str(pins), "-d", str(out)], check=True)


def describe(out: Path) -> str:
    """Tell how much the folder holds.

    Raises:
        SystemExit: If it is too much.
    """
    sizes = {path.name: path.stat().st_size for path in out.glob("*.whl")}
    total = sum(sizes.values()) / 2**20
    line = f"{out}: {len(sizes)} wheels, {total:.1f} MiB"
    if total > MOST_MEBIBYTES:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:3]
        sys.exit(f"{line}, more than the {MOST_MEBIBYTES} MiB allowed; the largest are {', '.join(largest)}")
    return line


if __name__ == "__main__":
    main()
