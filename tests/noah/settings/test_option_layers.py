from __future__ import annotations

from pathlib import Path

import pytest

from noah.errors import SettingsError, UsageError
from noah.settings.layers import Layer, resolve
from noah.settings.option_layers import option_layers
from noah.settings.settings import ColumnSettings


def test_columns_and_classes_become_settings() -> None:
    layers = option_layers(columns=["path=file, label=class", "group="], classes="leaf")
    data = resolve(layers)[0].data
    assert data.columns == ColumnSettings(path="file", label="class", group="") and data.classes == "leaf"
    assert option_layers(columns=None, classes=None, track=[]) == []


@pytest.mark.parametrize(
    ("typed", "told"),
    [("path", "path"), ("image=file", "image=file"), ("path=a,path=b", "names one twice"), ("", "--columns")],
)
def test_what_is_no_column_is_refused(typed: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        option_layers(columns=[typed])
    assert "--columns path=file,label=class" in caught.value.hint


def test_how_files_are_read_becomes_settings() -> None:
    data = resolve(option_layers(damaged="skip", alpha="black", bit_depth="12"))[0].data
    assert (data.damaged, data.alpha, data.bit_depth) == ("skip", "black", 12)
    assert resolve(option_layers(bit_depth="auto"))[0].data.bit_depth == "auto"


@pytest.mark.parametrize("typed", ["7", "17", "twelve", "12.5"])
def test_what_is_no_bit_depth_is_refused(typed: str) -> None:
    with pytest.raises(SettingsError, match=r"data\.bit_depth: must be auto or a whole number from 8 to 16"):
        resolve(option_layers(bit_depth=typed))


def test_python_gives_single_texts_paths_and_mappings() -> None:
    asked = {"backbone": Path("vit.pth"), "data": "photos/", "backbone_arg": "reg_tokens=4", "track": "wandb"}
    typed = {"backbone": "vit.pth", "data": Path("photos"), "backbone_arg": ["reg_tokens=4"], "track": ["wandb"]}
    assert option_layers(**asked) == option_layers(**typed)
    (layer,) = option_layers(columns={"path": "file"})
    assert layer == Layer(source="--columns", values={"data": {"columns": {"path": "file"}}})
    (layer,) = option_layers(backbone_arg=("a=1", "b=2"))
    assert layer == Layer(source="--backbone-arg", values={"backbone": {"arguments": ["a=1", "b=2"]}})
    with pytest.raises(UsageError, match="is not a budget"):
        option_layers(budget="")


@pytest.mark.parametrize(
    ("names", "told"), [(["none", "wandb"], "--track none contradicts"), (["csv"], "--track csv: there is no such")]
)
def test_what_is_no_tracker_is_refused(names: list[str], told: str) -> None:
    assert option_layers(track=["none"]) == [Layer(source="--track", values={"trackers": []})]
    with pytest.raises(UsageError, match=told):
        option_layers(track=names)
