from __future__ import annotations

import pytest

from noah.errors import UsageError
from noah.settings.layers import resolve
from noah.settings.option_layers import own_data_layers
from noah.settings.settings import ColumnSettings


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
