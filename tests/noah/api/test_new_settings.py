from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from noah.api.new_settings import resolve_new
from noah.errors import UsageError
from noah.progress import Silent
from noah.settings.layers import PROJECT_FILE, Layer, assignment_layer
from noah.settings.option_layers import option_layers


def resolve(*options: Layer, config: tuple[Path, ...] = ()) -> str | None:
    """The dataset or folder of a new run with these options."""
    data = resolve_new(Silent(), None, config, options, [])[0].data
    return data.dataset or data.folder


def test_a_dataset_beside_that_of_a_file_is_told_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (dataset,) = option_layers(dataset="digits")
    (folder,) = option_layers(data="photos")
    with pytest.raises(UsageError, match="Both --dataset and --data are given"):
        resolve(dataset, folder)
    PROJECT_FILE.write_text("data: {folder: pictures}\n")
    (tmp_path / "mine.yaml").write_text("data: {dataset: dtd}\n")
    for typed, config, told, chosen in (
        (dataset, (), r"data\.dataset \(--dataset\) and data\.folder \(noah\.yaml\)", "digits"),
        (folder, (tmp_path / "mine.yaml",), r"data\.dataset \(\S+mine\.yaml\) and data\.folder \(--data\)", "photos"),
    ):
        with pytest.raises(UsageError, match=f"Two datasets are given: {told}") as caught:
            resolve(typed, config=config)
        (assignment,) = shlex.split(caught.value.hint.partition("--set ")[2])
        assert resolve(typed, assignment_layer(assignment), config=config) == chosen
