"""A forecast of a search: how many images it opens, and that damaged ones do not end it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from noah.api import searching
from noah.api.searching import forecast_search
from noah.settings.layers import Layer, resolve
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder
from tests.opened import opened_paths

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("looks", [54, 53])
def test_only_a_small_dataset_is_looked_at_as_a_whole(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    for part in ("train", "val"):
        sorted((folder / part / "circle").iterdir())[1].write_bytes(b"no image")
    values = tiny_settings(
        {"data.folder": str(folder), "data.damaged_share": 0.05, "supernet.batch_size": 2, "retrain.batch_size": 2}
    )
    settings, origins = resolve([Layer(source="test", values=values)])
    monkeypatch.setattr(searching, "FORECAST_LOOKS", looks)
    listener = Recorder()
    with opened_paths() as opened:
        made = forecast_search(listener, settings, origins, None)
    whole = looks == 54
    assert made.seconds > 0
    assert ("checking training and validation images" in listener.bars) == whole
    assert any("2 of 54 images cannot be read and are left out" in line for line in listener.said) == whole
    assert any("not all were looked at" in line and "looks at all 54" in line for line in listener.said) == (not whole)
    trained = {path for path in map(Path, opened) if path.is_relative_to(folder / "train") and path.is_file()}
    assert (len(trained) == 36) == whole
