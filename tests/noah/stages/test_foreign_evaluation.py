from __future__ import annotations

from pathlib import Path

import pytest

from noah.errors import DataError, DatasetNotFoundError
from noah.settings.settings import DataSettings, Settings
from noah.stages.foreign_evaluation import find_foreign
from tests.few_shot import SYNSETS, write_few_shot, write_variant


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings(data=DataSettings(root="data", shots=4, list_seed=0))


def test_a_variant_in_the_data_root_goes_before_a_folder_of_its_name(tmp_path: Path, settings: Settings) -> None:
    write_variant(tmp_path / "imagenet-a", "imagenet-a", (0, 1))
    assert find_foreign("imagenet-a", settings, SYNSETS).source == str(tmp_path / "imagenet-a")
    write_variant(tmp_path / "data" / "imagenet-adversarial", "imagenet-a", (2, 3))
    found = find_foreign("ImageNet-A", settings, SYNSETS)
    assert (found.name, found.present) == ("imagenet-a", (2, 3))
    with pytest.raises(DatasetNotFoundError, match="No folder imagenet-r or imagenet-rendition"):
        find_foreign("imagenet-r", settings, SYNSETS)


def test_names_of_data_sets(tmp_path: Path, settings: Settings) -> None:
    digits = find_foreign("digits", settings, tuple("0123456789ab"))
    assert (digits.name, len(digits.split), digits.present) == ("digits", 797, tuple(range(10)))
    write_few_shot(tmp_path / "data" / "oxford_pets")
    pets = find_foreign("oxford_pets", settings, tuple(map(str, range(37))))  # with the shots of the run
    assert (pets.name, len(pets.split)) == ("oxford_pets-4shot", 6)
    grounds = find_foreign("Shapes-Count-Grounds", settings, tuple(map(str, range(3, 11))))  # but drawn in full
    assert (grounds.name, len(grounds.split), grounds.present) == ("shapes_count_grounds", 1000, tuple(range(8)))
    (tmp_path / "rendered_digits" / "0").mkdir(parents=True)  # a folder goes before what noah draws
    with pytest.raises(DataError, match="rendered_digits"):
        find_foreign("rendered_digits", settings, tuple("0123456789"))
    with pytest.raises(DatasetNotFoundError, match="No dataset is named nowhere") as caught:
        find_foreign("nowhere", settings, SYNSETS)
    assert caught.value.hint.endswith("a folder of your own goes with --on FOLDER.")
    with pytest.raises(DatasetNotFoundError, match="There is no folder photos-of-2025/, and no dataset"):
        find_foreign("photos-of-2025/", settings, SYNSETS)
