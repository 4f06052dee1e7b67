"""The mistakes that putting layers together tells of."""

from __future__ import annotations

import pytest

from noah.errors import SettingsError
from noah.settings.layers import Layer, resolve


def problems_of(*layers: Layer) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        resolve(layers)
    assert str(caught.value) == "\n".join([*caught.value.problems, caught.value.hint])
    return caught.value.problems
