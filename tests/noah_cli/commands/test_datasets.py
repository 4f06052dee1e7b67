from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import noah
from tests.few_shot import write_few_shot


@pytest.fixture(autouse=True)
def narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


def test_the_table_fits_eighty_columns(tmp_path: Path) -> None:
    write_few_shot(tmp_path / "data" / "few-shot" / "oxford-flowers102", classes=1, shots=(1, 2, 4, 8, 16))
    outcome = noah("datasets")
    assert (outcome.code, outcome.err) == (0, "")
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert outcome.out.startswith("Looked for in data;")


def test_each_row_names_group_classes_and_place(tmp_path: Path) -> None:
    (tmp_path / "sets" / "dtd").mkdir(parents=True)
    (tmp_path / "sets" / "dtd" / "train800.txt").touch()
    rows = [" ".join(line.split()) for line in noah("datasets", "--data-root", "sets").out.splitlines()]
    for row in (
        "digits built in 10 comes with scikit-learn",
        "rendered_dsprites_loc rendered 16 rendered by noah",
        "shapes_count rendered 8 rendered by noah",
        "dtd natural 47 dtd",
        "eurosat specialized 10 missing: vtab-1k/eurosat",
        "stanford_cars few-shot 196 missing: few-shot/stanford_cars",
        "rendered_letters rendered 26 rendered by noah",
        "rendered_digits eval --on 10 for digits",
        "imagenet-a eval --on 200 missing: imagenet-a",
    ):
        assert row in rows


def test_below_the_table_it_says_how_to_get_the_rest() -> None:
    words = noah("datasets").words
    assert "github.com/ZhangYuanhan-AI/NOAH" in words and words.endswith("For your own images, use --data FOLDER.")


def test_the_data_root_of_this_folders_settings_is_used(tmp_path: Path) -> None:
    (tmp_path / "noah.yaml").write_text("data: {root: big/disk}\n")
    assert noah("datasets").out.startswith("Looked for in big/disk;")
    assert noah("datasets", "--data-root", "other").out.startswith("Looked for in other;")
