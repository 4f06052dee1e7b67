from __future__ import annotations

import pytest

from noah.errors import SettingsError, UsageError
from noah.settings.layers import resolve
from noah.settings.settings import ColumnSettings
from noah_cli.options.option_layers import own_data_layers


def test_columns_and_classes_become_settings() -> None:
    layers = own_data_layers(["path=file, label=class", "group="], "leaf")
    data = resolve(layers)[0].data
    assert data.columns == ColumnSettings(path="file", label="class", group="") and data.classes == "leaf"
    assert own_data_layers(None, None) == []


@pytest.mark.parametrize(
    ("typed", "told"),
    [("path", "path"), ("image=file", "image=file"), ("path=a,path=b", "names one twice"), ("", "--columns")],
)
def test_what_is_no_column_is_refused(typed: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        own_data_layers([typed], None)
    assert "--columns path=file,label=class" in caught.value.hint


def test_how_files_are_read_becomes_settings() -> None:
    data = resolve(own_data_layers(None, None, "skip", "black", "12"))[0].data
    assert (data.damaged, data.alpha, data.bit_depth) == ("skip", "black", 12)
    assert resolve(own_data_layers(None, None, bit_depth="auto"))[0].data.bit_depth == "auto"


@pytest.mark.parametrize("typed", ["7", "17", "twelve", "12.5"])
def test_what_is_no_bit_depth_is_refused(typed: str) -> None:
    with pytest.raises(SettingsError, match=r"data\.bit_depth: must be auto or a whole number from 8 to 16"):
        resolve(own_data_layers(None, None, bit_depth=typed))
