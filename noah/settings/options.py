"""The setting that an option of a command stands for, so that a keyword in Python means the same."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from noah.errors import UsageError
from noah.settings.layers import flatten
from noah.settings.settings import Settings

OTHERWISE: Mapping[str, str] = {
    "backbone": "backbone.name",
    "backbone_arch": "backbone.architecture",
    "backbone_arg": "backbone.arguments",
    "data": "data.folder",
    "data_root": "data.root",
    "near": "data.near_duplicates",
    "space": "space.preset",
    "track": "trackers",
}
"""Options that are called otherwise than the setting that they stand for; of the others, the last word is the same."""


def setting_of(option: str) -> str:
    """Find the dotted key of the setting, or of the section, that an option stands for.

    Args:
        option: Its name as a keyword, such as image_size for --image-size.

    Raises:
        UsageError: If no setting has that name, or several do.
    """
    if option in OTHERWISE:
        return OTHERWISE[option]
    keys = dict.fromkeys(_keys())
    meant = [key for key in keys if key.rsplit(".", 1)[-1] == option]
    if option in keys or len(meant) == 1:
        return option if option in keys else meant[0]
    if meant:
        example = f'settings={{"{meant[0]}": ...}}'
        raise UsageError(
            f"{option} may mean {' or '.join(meant)}.", f"Name the setting by its whole key, as in {example}."
        )
    known = [*OTHERWISE, *(key.rsplit(".", 1)[-1] for key in keys)]
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.6)
    raise UsageError(
        f"There is no option {option}{f'; did you mean {near[0]}?' if near else '.'}",
        'Any setting can be given by its dotted key, as in settings={"search.population": 20}.',
    )


def _keys() -> Iterator[str]:
    """The dotted keys of all settings, and of sections inside sections."""
    for key, _ in flatten(Settings().model_dump()):
        yield key
        section = key.rpartition(".")[0]
        if "." in section:
            yield section
