"""The finished run, and a working folder in which a search would go well."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.commands import write_settings
from tests.conftest import TinySettings
from tests.finished import finished, project

__all__ = ["finished", "good_folder", "project"]


@pytest.fixture
def good_folder(
    tmp_path: Path, tiny_settings: TinySettings, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder with noah.yaml, tiny.safetensors and the folder photos, all named by relative paths."""
    settings = tiny_settings({"data.folder": "photos"})
    shutil.copy(settings["backbone"]["name"], tmp_path / "tiny.safetensors")
    settings["backbone"]["name"] = "tiny.safetensors"
    write_settings(tmp_path, settings)
    shutil.copytree(photo_folder, tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path
