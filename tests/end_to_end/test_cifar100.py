"""`noah search --dataset cifar100`, literally."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import NoReturn

import pytest

from tests.commands import noah_line, write_settings
from tests.conftest import TinySettings
from tests.vtab import write_vtab

COMMAND = "noah search --dataset cifar100"


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_with_a_vtab_folder_and_a_settings_file_it_runs_to_the_end(
    working_folder: Path, tiny_settings: TinySettings
) -> None:
    settings = tiny_settings()
    del settings["data"]
    shutil.copy(settings["backbone"]["name"], working_folder / "tiny.safetensors")
    settings["backbone"]["name"] = "tiny.safetensors"  # paths of a settings file are those of the working folder
    write_settings(working_folder, settings)
    write_vtab(working_folder / "data" / "vtab-1k" / "cifar")

    outcome = noah_line(COMMAND)

    assert (outcome.code, outcome.err) == (0, "")
    assert "settings noah.yaml (found in this folder)" in outcome.words
    assert "recipe vtab (cifar100 is a VTAB dataset: the paper's settings;" in outcome.words
    assert "VTAB-1k's is used, because data/vtab-1k/cifar exists." in outcome.words
    assert "lists 12 images, where VTAB-1k has 800" in outcome.words
    assert outcome.out.endswith("next      noah retrain\n")
    (run,) = (working_folder / "runs" / "cifar").iterdir()
    best = json.loads((run / "search" / "best.json").read_text())
    assert best["evaluated"] == 8
    assert best["total"] == 6


def test_without_data_and_network_it_says_what_to_do(working_folder: Path, no_network: None) -> None:
    outcome = noah_line(COMMAND)

    assert outcome.code == 1
    assert len(outcome.error_lines) == 2
    assert outcome.error_lines[0].startswith("Error: Cannot download CIFAR-100 from https://")
    assert "Temporary failure in name resolution" in outcome.error_lines[0]
    assert "Put a VTAB-1k cifar folder at data/vtab-1k/cifar" in outcome.error_lines[1]
    assert not (working_folder / "runs").exists()


def test_without_a_network_a_backbone_of_the_hub_is_refused_at_once(
    working_folder: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    # Whoever has the paper's backbone in the cache needs no network for it.
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    write_vtab(working_folder / "data" / "vtab-1k" / "cifar")

    outcome = noah_line(COMMAND)

    assert outcome.code == 1
    assert len(outcome.error_lines) == 2
    assert outcome.error_lines[0].startswith(
        "Error: The weights of vit_base_patch16_224.orig_in21k cannot be downloaded: "
    )
    assert "--backbone FILE --backbone-arch NAME" in outcome.error_lines[1]
    assert not (working_folder / "runs").exists()
