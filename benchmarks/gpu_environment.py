"""Makes the virtual environment of the GPU kit, on a machine whose own Python has torch and which has no network.

    python3 -m benchmarks.gpu_environment [--out .venv-gpu] [--wheels gpu-wheels]

The environment sees everything that the machine's Python has. Only what is missing or older than `pyproject.toml`
allows is installed into it, from the folder of wheels that `make gpu-wheels` fills; torch and whatever comes with the
GPU stay as they are. Needs nothing but Python's standard library.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import re
import site
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
OLDEST_TORCH = (2, 11)
NEEDED = (
    *("timm", "huggingface-hub", "safetensors", "scipy", "pydantic", "typing-extensions", "pyyaml", "filelock"),
    *("psutil", "optuna", "sqlalchemy", "rich", "pytest", "pytest-timeout", "hypothesis"),
)
"""What the kit imports, by the names in `pyproject.toml`."""
OF_THE_MACHINE = ("torch", "torchvision", "numpy", "pillow")
"""What the machine has to have: wheels of torch are too large to carry, and the others come with it."""
NEVER_REPLACED = (*OF_THE_MACHINE, "triton", "nvidia-", "onnxruntime", "tensorrt")
"""How the names of packages begin that keep the machine's version."""


def main() -> None:
    """Make the environment, or find that it is complete."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(".venv-gpu"))
    parser.add_argument("--wheels", type=Path, default=Path("gpu-wheels"))
    arguments = parser.parse_args()
    versions = installed()
    if problem := what_the_machine_lacks(versions, sys.version_info[:2]):
        sys.exit(f"{sys.executable}: {problem}")
    python = make_environment(arguments.out, versions)
    print(install(python, arguments.wheels, requirements(), constraints(versions)), flush=True)


def installed() -> dict[str, str]:
    """The version of every package that this Python sees, by its normalized name."""
    found: dict[str, str] = {}
    for each in importlib.metadata.distributions():
        if name := each.metadata["Name"]:  # a damaged folder of metadata has none
            found.setdefault(normalized(name), each.version)  # the first on the path is the one that is imported
    return found


def normalized(name: str) -> str:
    """A package's name as the index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def what_the_machine_lacks(versions: dict[str, str], python: tuple[int, ...]) -> str:
    """What is missing that the kit cannot bring; empty if nothing is.

    Args:
        versions: What `installed` found.
        python: Major and minor version of the machine's Python.
    """
    if python < (3, 11):
        return "this Python is older than 3.11; name another with make gpu GPU_PYTHON=..."
    if missing := [name for name in OF_THE_MACHINE if name not in versions]:
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        return (
            f"this Python has no {names}, which the GPU kit takes from the machine. Name a Python that has it with "
            "make gpu GPU_PYTHON=..., or install it there."
        )
    if tuple(map(int, re.findall(r"\d+", versions["torch"])[:2])) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        return f"its torch is {versions['torch']}; the GPU kit needs {oldest} or newer."
    return ""


def requirements(project: Path = ROOT / "pyproject.toml") -> list[str]:
    """What is needed, with the versions that the project allows."""
    table = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    lines = [*table["dependencies"], *table["optional-dependencies"]["dev"]]
    known = {normalized(re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0]): line for line in lines}
    return [known[name] for name in NEEDED]


def constraints(versions: dict[str, str]) -> list[str]:
    """The versions that have to stay as they are, in pip's spelling."""
    return [f"{name}=={version}" for name, version in sorted(versions.items()) if name.startswith(NEVER_REPLACED)]


def make_environment(folder: Path, versions: dict[str, str]) -> Path:
    """Make the environment anew, unless it was made from this Python with this torch; gives its Python."""
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    origin = {"python": sys.executable, "version": sys.version, "torch": versions["torch"]}
    record = folder / "machine.json"
    if python.exists() and record.is_file() and json.loads(record.read_text(encoding="utf-8")) == origin:
        return python
    print(f"making {folder} beside {sys.executable}, with its torch {versions['torch']}", flush=True)
    venv.EnvBuilder(system_site_packages=True, clear=True, with_pip=False).create(folder)
    if sys.prefix != sys.base_prefix:
        # This Python is of an environment itself, and the new one would see only what lies behind that.
        (own,) = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.splitlines()
        Path(own, "machine.pth").write_text("\n".join(site.getsitepackages()) + "\n", encoding="utf-8")
    record.write_text(json.dumps(origin), encoding="utf-8")
    return python


def install(python: Path, wheels: Path, needed: list[str], fixed: list[str]) -> str:
    """Install what is missing into the environment.

    Args:
        python: Its Python.
        wheels: The folder of wheels; it need not exist where nothing is missing.
        needed: Requirements.
        fixed: Constraints.

    Returns:
        A line that says what was installed.

    Raises:
        SystemExit: If something is missing that is not in the folder.
    """
    if run(python, "-m", "pip", "--version").returncode and run(python, "-m", "ensurepip").returncode:
        sys.exit(f"{python} has no pip, nor ensurepip, which would bring it; install pip (python3-pip).")
    pins = python.parents[1] / "constraints.txt"
    pins.write_text("\n".join(fixed) + "\n", encoding="utf-8")
    options = ["--no-index", "--find-links", str(wheels)] if wheels.is_dir() else ["--no-index"]
    quiet = ["--disable-pip-version-check", "--no-input", "--no-warn-script-location"]
    done = run(python, "-m", "pip", "install", *quiet, *options, "--constraint", str(pins), *needed)
    if done.returncode:
        where = f"the {len(list(wheels.glob('*.whl')))} wheels in {wheels}" if wheels.is_dir() else f"no {wheels} here"
        told = [line for line in done.stderr.splitlines() if line.startswith(("ERROR", "  "))]
        sys.exit(
            "\n".join(
                [
                    f"Something that the GPU kit needs is missing here, and cannot be installed ({where}):",
                    *(told or done.stderr.splitlines()),
                    f"Fill the folder where there is a network, for this Python: make gpu-wheels "
                    f"GPU_PYTHON_VERSION={sys.version_info.major}.{sys.version_info.minor}",
                ]
            )
        )
    brought = re.search(r"^Successfully installed (.*)$", done.stdout, re.MULTILINE)
    return f"installed from {wheels}: {brought[1]}" if brought else "nothing was missing"


def run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with arguments, and take what it prints."""
    # Settings of the machine's pip, and packages of other environments, have no say.
    hidden = ("PYTHONHOME", "PIP_TARGET", "PIP_USER", "PIP_CONSTRAINT", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment["PIP_CONFIG_FILE"] = os.devnull
    command = [str(python), *arguments]
    return subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


if __name__ == "__main__":
    main()
