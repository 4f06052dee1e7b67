from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import SettingsError, UsageError
from noah.settings.layers import (
    Layer,
    assignment_layer,
    file_layer,
    flatten,
    nested,
    recipe_layer,
    resolve,
)
from noah.settings.settings import Settings
from tests.noah.refused_layers import problems_of

keys = st.text("abc", min_size=1, max_size=3)
mappings = st.recursive(
    st.integers() | st.text("xyz"),
    lambda inner: st.dictionaries(keys, inner, min_size=1, max_size=3),
    max_leaves=8,
).filter(lambda value: isinstance(value, dict))


def test_without_layers_every_value_is_the_default() -> None:
    settings, origins = resolve([])
    assert settings == Settings()
    assert set(origins) == {key for key, _ in flatten(settings.model_dump())}
    assert set(origins.values()) == {"default"}


def test_a_later_layer_replaces_single_values_and_leaves_the_rest() -> None:
    settings, origins = resolve(
        [
            Layer(source="first", values={"supernet": {"epochs": 30, "batch_size": 16}}),
            Layer(source="second", values={"supernet": {"epochs": 40}, "seed": 7}),
        ]
    )
    assert (settings.supernet.epochs, settings.supernet.batch_size, settings.seed) == (40, 16, 7)
    assert settings.supernet.learning_rate == Settings().supernet.learning_rate
    named = {key: source for key, source in origins.items() if source != "default"}
    assert named == {"supernet.epochs": "second", "supernet.batch_size": "first", "seed": "second"}


@given(st.permutations(["quick", "vtab", "demo"]), st.integers(0, 2**32 - 1))
def test_each_value_is_that_of_the_last_layer_that_names_it(names: list[str], seed: int) -> None:
    layers = [*(recipe_layer(name) for name in names), Layer(source="--seed", values={"seed": seed})]
    settings, origins = resolve(layers)
    values = dict(flatten(settings.model_dump()))
    for key, source in origins.items():
        naming = [layer for layer in layers if key in dict(flatten(layer.values))]
        assert source == (naming[-1].source if naming else "default")
        expected: Any = dict(flatten(naming[-1].values if naming else Settings().model_dump()))[key]
        assert values[key] == expected


def test_what_a_run_stores_resolves_to_the_same_settings() -> None:
    settings, _ = resolve([recipe_layer("demo"), Layer(source="x", values={"space": {"lora": [2, 4], "adapter": []}})])
    text = yaml.safe_dump(settings.model_dump(mode="json"))
    assert resolve([Layer(source="run", values=yaml.safe_load(text))])[0] == settings


def test_every_mistake_is_told_at_once_with_key_and_source() -> None:
    problems = problems_of(
        Layer(source="recipe r", values={"supernet": {"epoch": 5, "batch_size": 0}}),
        Layer(source="--set", values={"search": 3, "retrain": {"dropout": "much"}, "weather": "fine"}),
        Layer(source="noah.yaml", values={"space": {"lora": [1, 0]}, "seed": -1, "hardware": {"precision": "fp8"}}),
    )
    told = {
        "supernet.epoch:": ("(recipe r)", "did you mean supernet.epochs?"),
        "supernet.batch_size:": ("(recipe r)", "found 0"),
        "search:": ("(--set)", "a section, not a value"),
        "retrain.dropout:": ("(--set)", "found 'much'"),
        "weather:": ("(--set)", "unknown setting"),
        "space.lora:": ("(noah.yaml)", "found 0"),
        "seed:": ("(noah.yaml)", "found -1"),
        "hardware.precision:": ("(noah.yaml)", "'fp32' or 'bf16'"),
    }
    assert len(problems) == len(told)
    for start, parts in told.items():
        (line,) = [problem for problem in problems if problem.startswith(start)]
        assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("budget.macs=Many", "budget.macs: must be a number of multiply-accumulates for one image, such as 4.5G, or"),
        ("supernet.epochs=Five", "supernet.epochs: input should be a valid integer"),
        ("retrain.augmentation.randaugment=Rand-M9", "retrain.augmentation.randaugment: must be rand, then any of -m0"),
        ("data.class_weights=Balanced", "data.class_weights: input should be 'none' or 'balanced'"),
    ],
)
def test_nothing_but_the_first_letter_of_a_message_is_made_small(assignment: str, told: str) -> None:
    (problem,) = problems_of(assignment_layer(assignment))
    assert problem.startswith(told)
    assert problem.endswith(f"found {assignment.partition('=')[2]!r} (--set)")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("supernet.lerning_rate", "supernet.learning_rate"),
        ("suppernet.epochs", "supernet.epochs"),
        ("data.data.dataset", "data.dataset"),
        ("Seed", "seed"),
        ("seed.value", "seed"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(key: str, nearest: str) -> None:
    (problem,) = problems_of(Layer(source="--set", values=nested(key, 1)))
    assert problem == f"{key}: unknown setting (--set); did you mean {nearest}?"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_read_as_python_writes_it(number: float) -> None:
    assert assignment_layer(f"supernet.weight_decay={number!r}").values == {"supernet": {"weight_decay": number}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("5E3", 5e3), ("-2e-3", -2e-3), ("1.5e4", 1.5e4), ("1e", "1e"), ("e5", "e5"), ("1e-4x", "1e-4x")],
)
def test_exponents_need_no_point_and_words_stay_words(text: str, value: object) -> None:
    (found,) = assignment_layer(f"key={text}").values.values()
    assert found == value
    assert type(found) is type(value)


def test_a_file_reads_numbers_as_the_command_line_does(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("supernet:\n  learning_rate: 1e-4\n  warmup_epochs: 2\nsearch.generations: 3\n")
    settings, origins = resolve([file_layer(path)])
    assert (settings.supernet.learning_rate, settings.search.generations) == (1e-4, 3)
    assert origins["supernet.learning_rate"] == origins["search.generations"] == str(path)


def test_the_settings_of_the_latest_run_are_found_by_its_pointer(tmp_path: Path) -> None:
    path = tmp_path / "digits" / "first" / "run.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("noah: 1.0.0\ncreated: today\nsettings:\n  seed: 3\n")
    (tmp_path / "latest").write_text("digits/first\n")
    layer = file_layer(tmp_path / "latest" / "run.yaml")
    assert (layer.source, layer.values, layer.complete) == (str(path), {"seed": 3}, True)


@given(mappings)
def test_nesting_undoes_flattening(values: dict[str, Any]) -> None:
    for key, leaf in flatten(values):
        found: Any = values
        for part in key.split("."):
            found = found[part]
        assert found == leaf
        assert list(flatten(nested(key, leaf))) == [(key, leaf)]


@pytest.mark.parametrize("text", ["supernet.epochs", "=5", "  =5", "seed=[1, 2", "seed={a: "])
def test_an_assignment_that_cannot_be_read_is_shown(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--set ") as caught:
        assignment_layer(text)
    assert text in caught.value.problems[0]


def test_the_value_of_an_assignment_may_hold_equals_signs() -> None:
    assert assignment_layer("data.folder=a=b").values == {"data": {"folder": "a=b"}}


@pytest.mark.parametrize("folder", ["photos #2", "#2", "pho#tos #2's"])
def test_a_sign_that_begins_a_comment_is_told_with_what_to_type(folder: str) -> None:
    with pytest.raises(SettingsError, match="YAML leaves out what stands behind the #") as caught:
        assignment_layer(f"data.folder={folder}")
    (typed,) = shlex.split(caught.value.hint.partition("--set ")[2])
    assert assignment_layer(typed).values == {"data": {"folder": folder}}
    assert assignment_layer("data.folder=photos#2").values == {"data": {"folder": "photos#2"}}
    assert assignment_layer("seed=3  # default").values == {"seed": 3}


@pytest.mark.parametrize("line", ["data.shots=null  # default", "data.shots=~ # few", "data.shots=null #"])
def test_a_comment_behind_null_is_left_out_as_behind_a_number(line: str) -> None:
    assert assignment_layer(line).values == {"data": {"shots": None}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("supernet:\n  epochs: 5\nsupernet:\n  batch_size: 8\n", "supernet in line 3 is there already, in line 1"),
        ("supernet:\n  epochs: 5\n  epochs: 6\n", "epochs in line 3 is there already, in line 2"),
        ("supernet: {epochs: 5, epochs: 6}\n", "epochs in line 1 is there already, in line 1"),
    ],
)
def test_what_a_file_gives_twice_is_told_with_its_lines(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        file_layer(path)


def test_what_is_given_by_its_dotted_key_and_in_its_section_is_told() -> None:
    layer = Layer(source="mine.yaml", values={"supernet.epochs": 50, "supernet": {"epochs": 60, "batch_size": 8}})
    assert problems_of(layer) == ["supernet.epochs: it is given twice (mine.yaml)"]


def test_an_empty_mapping_in_place_of_a_value_is_told_with_all_other_mistakes() -> None:
    layer = Layer(
        source="mine.yaml",
        values={
            "supernet": {"epochs": {}, "batch_size": 0},
            "retrain.epochs": {},
            "seed": {},
            "suppernet": {},
            "search": {},
            "data": {"columns": {}},
        },
    )
    assert sorted(problems_of(layer)) == [
        "retrain.epochs: a value is expected, found {} (mine.yaml)",
        "seed: a value is expected, found {} (mine.yaml)",
        "supernet.batch_size: input should be greater than or equal to 1, found 0 (mine.yaml)",
        "supernet.epochs: a value is expected, found {} (mine.yaml)",
        "suppernet: unknown section (mine.yaml); did you mean supernet?",
    ]
    assert problems_of(assignment_layer("supernet.epochs={}")) == [
        "supernet.epochs: a value is expected, found {} (--set)"
    ]


def test_an_empty_section_sets_nothing() -> None:
    assert resolve([Layer(source="mine.yaml", values={"supernet": {}, "data": {"columns": {}}})]) == resolve([])


def test_a_file_may_take_over_a_mapping_and_change_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "supernet: &both\n  epochs: 5\n  batch_size: 8\nretrain:\n  <<: *both\n  <<: {dropout: 0}\n  epochs: 6\n"
    )
    assert file_layer(path).values["retrain"] == {"epochs": 6, "batch_size": 8, "dropout": 0}


def test_a_damaged_file_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 1\nsupernet: {epochs: 5\nretrain: 3\n")
    with pytest.raises(SettingsError, match="not YAML at line 3"):
        file_layer(path)
    path.write_text("- seed\n")
    with pytest.raises(SettingsError, match="expected a mapping of settings, found list"):
        file_layer(path)
    path.write_text("# nothing yet\n")
    assert file_layer(path).values == {}
    with pytest.raises(UsageError, match="does not exist"):
        file_layer(tmp_path / "other.yaml")


def test_yaml_that_would_make_objects_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(SettingsError, match="not YAML"):
        file_layer(path)


def test_odd_keys_and_odd_bytes_in_a_file_are_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text("2: 3\non: 4\n")
    with pytest.raises(SettingsError) as caught:
        resolve([file_layer(path)])
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["2", "True"]
    path.write_bytes(b"seed: \xff\n")
    with pytest.raises(SettingsError, match="not a UTF-8"):
        file_layer(path)
