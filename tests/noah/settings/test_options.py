"""Which setting a keyword stands for: every option of `noah search`, and the last word of any setting."""

from __future__ import annotations

import inspect

import pytest

from noah.errors import UsageError
from noah.settings.layers import flatten
from noah.settings.options import OTHERWISE, setting_of
from noah.settings.settings import Settings
from noah_cli.commands.search import search

NO_SETTING = {
    *("context", "recipe", "config", "assignments", "run", "runs", "resume", "join", "dry_run", "time_limit"),
    *("ray", "workers"),
}
"""What `noah search` takes besides settings; `noah.search` has keywords of its own for them."""
KEYS = dict(flatten(Settings().model_dump()))


@pytest.mark.parametrize("option", sorted(set(inspect.signature(search).parameters) - NO_SETTING - {"budget"}))
def test_every_option_of_the_command_is_a_keyword(option: str) -> None:
    key = setting_of(option)
    assert key in KEYS or any(known.startswith(f"{key}.") for known in KEYS)


def test_an_option_that_is_called_otherwise_still_stands_for_a_setting() -> None:
    assert set(OTHERWISE.values()) <= set(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_a_setting_is_found_by_its_last_word_or_its_whole_key(key: str) -> None:
    assert setting_of(key) == key
    last = key.rsplit(".", 1)[-1]
    if last not in OTHERWISE and [known.rsplit(".", 1)[-1] for known in KEYS].count(last) == 1:
        assert setting_of(last) == key


def test_a_word_that_several_settings_share_names_them() -> None:
    with pytest.raises(UsageError, match=r"epochs may mean supernet\.epochs or retrain\.epochs"):
        setting_of("epochs")


def test_a_word_of_no_setting_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="There is no option imagesize; did you mean image_size"):
        setting_of("imagesize")
