from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.settings.training_settings import RetrainSettings, SupernetSettings, TrainingSettings, shortened


@given(epochs=st.integers(1, 1000), share=st.floats(0, 0.999), fewer=st.integers(1, 1000))
def test_settings_of_fewer_epochs_are_valid_and_change_nothing_else(epochs: int, share: float, fewer: int) -> None:
    settings = TrainingSettings(epochs=epochs, learning_rate=1e-3, warmup_epochs=share * epochs)
    short = shortened(settings, fewer)
    assert short.epochs == fewer
    assert short.warmup_epochs / fewer == pytest.approx(settings.warmup_epochs / epochs)
    changed = {"epochs": fewer, "warmup_epochs": short.warmup_epochs}
    assert TrainingSettings(**(settings.model_dump() | changed)) == short  # the rules of settings hold


@pytest.mark.parametrize("kind", [SupernetSettings, RetrainSettings])
def test_the_kind_of_training_stays(kind: type[TrainingSettings]) -> None:
    assert type(shortened(kind(epochs=40, learning_rate=1e-3), 10)) is kind


def test_no_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="0 epochs"):
        shortened(TrainingSettings(epochs=4, learning_rate=1e-3, warmup_epochs=0), 0)
