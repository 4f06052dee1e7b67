"""The recipe `auto`: what it plans, what it leaves alone, and how it keeps to a time limit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.nas.evolution import check_invited
from noah.prepare import auto
from noah.prepare.auto import EPOCHS, IMAGES, _share_of_training, adapt, plan
from noah.prepare.context import Materials, prepare
from noah.prepare.forecast import forecast
from noah.prepare.run_budget import decide_budget
from noah.progress import Silent
from noah.settings.layers import LIMITED, Layer, file_layer, recipe_layer, resolve
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = ("data", "backbone", "hardware")
"""Sections of the tiny settings that say nothing about effort."""


@pytest.fixture
def tiny(tiny_settings: TinySettings) -> dict[str, Any]:
    """Images, backbone and hardware of a tiny run, and no effort: that is what is planned."""
    values = tiny_settings()
    return {section: values[section] for section in DATA}


def begun(values: dict[str, Any], recipe: str = "auto") -> tuple[Materials, dict[str, str]]:
    settings, origins = resolve([recipe_layer(recipe), Layer(source="--set", values=values)])
    return prepare(settings, Silent()), origins


@given(st.integers(2, 10**7), st.integers(10**5, 10**9), st.sampled_from([192, 384, 512, 768, 1024]))
def test_a_plan_is_sound_for_any_number_of_images(images: int, weights: int, embed_dim: int) -> None:
    values = {key: planned.value for key, planned in plan(images, weights, embed_dim).items()}
    layers = [Layer(source=key, values=_nested(key, value)) for key, value in values.items()]
    settings, _ = resolve([recipe_layer("auto"), *layers])
    assert EPOCHS <= settings.retrain.epochs <= 60
    assert settings.supernet.epochs == settings.retrain.epochs
    assert 8 <= settings.retrain.batch_size <= 32
    assert settings.budget.parameters == pytest.approx(0.0075 * weights, abs=10_000)


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: {rest: value}}


@given(st.integers(2, 10**6))
def test_more_images_never_get_more_epochs_or_a_smaller_batch(images: int) -> None:
    fewer, more = plan(images, 10**7, 384), plan(images + images // 3 + 1, 10**7, 384)
    assert fewer["retrain.epochs"].value >= more["retrain.epochs"].value
    assert fewer["retrain.batch_size"].value <= more["retrain.batch_size"].value


def test_the_setting_of_the_development_tasks_is_planned_where_it_was_found() -> None:
    values = {key: planned.value for key, planned in plan(IMAGES, 21_500_000, 384).items()}
    assert values["retrain.epochs"] == EPOCHS
    assert values["retrain.batch_size"] == 25
    assert values["retrain.learning_rate"] == 2e-3
    assert values["budget.parameters"] == 160_000


def test_each_choice_is_told_with_its_reason_and_stored(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny)
    listener = Recorder()
    adapted, sources = adapt(materials, origins, listener)
    for key in ("retrain.epochs", "supernet.batch_size", "budget.parameters", "search.invited", "search.rerank_epochs"):
        assert sources[key].startswith("auto: ")
        (line,) = (said for said in listener.said if said.startswith(f"auto      {key}="))
        assert line.endswith(f"({sources[key].removeprefix('auto: ')})")
    assert adapted.settings.search.invited == ("lora", "lora+bias", "adapter")
    assert adapted.settings.search.rerank_epochs == adapted.settings.retrain.epochs


def test_what_was_set_stays(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny | {"retrain": {"epochs": 7}, "budget": {"parameters": 20_000}})
    adapted, sources = adapt(materials, origins, Silent())
    assert (adapted.settings.retrain.epochs, sources["retrain.epochs"]) == (7, "--set")
    assert adapted.settings.search.rerank_epochs == 7
    assert adapted.settings.budget.parameters == 20_000
    assert sources["supernet.epochs"].startswith("auto: ")


def test_a_space_without_single_modules_has_a_final_without_guests(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny | {"space": {"preset": "paper"}})
    adapted, sources = adapt(materials, origins, Silent())
    assert (adapted.settings.search.invited, sources["search.invited"]) == (None, "default")


@pytest.mark.parametrize("recipe", ["quick", "pocket"])
def test_other_recipes_are_left_as_they_are(tiny: dict[str, Any], recipe: str) -> None:
    materials, origins = begun(tiny, recipe)
    listener = Recorder()
    assert adapt(materials, origins, listener, time_limit=1) == (materials, origins)
    assert listener.said == []


def test_few_images_a_class_invite_the_head_alone(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "_FEW", 10**6)
    materials, origins = begun(tiny)
    assert adapt(materials, origins, Silent())[0].settings.search.invited == ("lora", "lora+bias", "linear")


def test_a_time_limit_takes_epochs_from_every_training(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny)
    whole, _ = adapt(materials, origins, Silent())
    made = forecast(whole, decide_budget(whole, Silent())[0], Silent())
    listener = Recorder()
    limited, sources = adapt(materials, origins, listener, time_limit=0.01 * made.search_seconds)
    settings = limited.settings
    assert settings.supernet.epochs == settings.retrain.epochs == settings.search.rerank_epochs == 3
    assert sources["retrain.epochs"].startswith(LIMITED)
    assert sum("retrain.epochs" in said for said in listener.said) == 1
    generous, _ = adapt(materials, origins, Silent(), time_limit=100 * made.search_seconds)
    assert generous.settings == whole.settings


@pytest.mark.parametrize(("epochs", "share"), [(4, 0.9), (600, 0.5)])
def test_a_time_limit_leaves_what_was_set_and_never_adds_epochs(
    tiny: dict[str, Any], epochs: int, share: float
) -> None:
    """The final trainings were given their epochs; only the supernet's were planned."""
    materials, origins = begun(tiny | {"retrain": {"epochs": epochs}})
    whole, _ = adapt(materials, origins, Silent())
    assert whole.settings.search.rerank_epochs == epochs
    made = forecast(whole, decide_budget(whole, Silent())[0], Silent())
    limited, _ = adapt(materials, origins, Silent(), time_limit=share * made.search_seconds)
    settings = limited.settings
    assert settings.retrain.epochs == epochs
    assert 3 <= settings.supernet.epochs <= whole.settings.supernet.epochs
    assert settings.search.rerank_epochs is not None
    assert 3 <= settings.search.rerank_epochs <= epochs


def test_what_a_limit_takes_is_taken_from_what_was_planned() -> None:
    def stage(seconds: float) -> Any:
        return SimpleNamespace(seconds=seconds)

    made: Any = SimpleNamespace(supernet=stage(100), finalists=stage(400), search=stage(50))
    supernet, final = "supernet.epochs", "search.rerank_epochs"
    assert _share_of_training(made, {supernet, final}, 500 / 0.9) == pytest.approx(450 / 500)
    assert _share_of_training(made, {final}, 500 / 0.9) == pytest.approx(350 / 400)
    assert _share_of_training(made, {supernet}, 500 / 0.9) == pytest.approx(50 / 100)
    assert _share_of_training(made, {supernet}, 100) == 0
    assert _share_of_training(made, (), 1) == 1


@pytest.mark.parametrize("rerank_epochs", [60, None])
def test_a_limit_leaves_the_winners_training_where_its_finalists_are_not_planned(
    tiny: dict[str, Any], rerank_epochs: int | None
) -> None:
    materials, origins = begun(tiny | {"search": {"rerank_epochs": rerank_epochs}})
    whole, _ = adapt(materials, origins, Silent())
    limited, _ = adapt(materials, origins, Silent(), time_limit=0.001)
    assert limited.settings.search.rerank_epochs == rerank_epochs
    assert limited.settings.retrain.epochs == whole.settings.retrain.epochs
    assert limited.settings.supernet.epochs == 3


@pytest.mark.parametrize("time_limit", [None, 0.001])
def test_a_warm_up_that_was_set_ends_before_the_training(tiny: dict[str, Any], time_limit: float | None) -> None:
    materials, origins = begun(tiny | {"supernet": {"warmup_epochs": 70}, "retrain": {"warmup_epochs": 4.5}})
    adapted, sources = adapt(materials, origins, Silent(), time_limit=time_limit)
    settings = adapted.settings
    assert (settings.supernet.epochs, settings.supernet.warmup_epochs) == (71, 70)
    assert sources["supernet.epochs"].endswith("one more than those of the warm-up")
    assert settings.retrain.epochs == (5 if time_limit else 46)


@pytest.mark.parametrize(
    "values",
    [
        {"search": {"baselines": False}},
        {"budget": {"macs": "1x"}},
        {"budget": {"macs": "1.01x"}},
        {"budget": {"parameters": 100}},
    ],
)
def test_nothing_is_invited_that_the_run_does_not_have(tiny: dict[str, Any], values: dict[str, Any]) -> None:
    materials, origins = begun(tiny | values)
    search = adapt(materials, origins, Silent())[0].settings.search
    check_invited(materials.space, decide_budget(materials, Silent())[0], search)
    if not search.baselines:
        assert search.invited is None


@pytest.mark.parametrize("name", ["default.yaml", "default", "auto: mine.yaml", "defaults/mine.yaml"])
def test_what_a_settings_file_says_stays_whatever_its_name_is(tiny: dict[str, Any], name: str, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("retrain: {epochs: 2, learning_rate: 0.005}\nbudget: {parameters: 14000}\n")
    with contextlib.chdir(tmp_path):
        layers = [recipe_layer("auto"), file_layer(Path(name)), Layer(source="--set", values=tiny)]
    settings, origins = resolve(layers)
    adapted, sources = adapt(prepare(settings, Silent()), origins, Silent())
    told = (adapted.settings.retrain.epochs, adapted.settings.retrain.learning_rate, adapted.settings.budget.parameters)
    assert told == (2, 0.005, 14_000)
    assert Path(sources["retrain.epochs"]) == Path(name)


def test_of_a_run_that_does_not_search_only_its_training_is_planned(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny)
    listener = Recorder()
    adapted, sources = adapt(materials, origins, listener, searches=False, time_limit=0.001)
    assert {key for key, source in sources.items() if source.startswith("auto")} == {
        "retrain.epochs",
        "retrain.batch_size",
        "retrain.learning_rate",
    }
    assert len(listener.said) == 3
    assert adapted.settings.retrain == adapt(materials, origins, Silent())[0].settings.retrain


def test_without_a_final_none_is_planned_and_a_limit_leaves_the_winners_training(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny | {"search": {"rerank": 0}})
    whole, _ = adapt(materials, origins, Silent())
    limited, sources = adapt(materials, origins, Silent(), time_limit=0.001)
    assert limited.settings.retrain.epochs == whole.settings.retrain.epochs > 3
    assert limited.settings.supernet.epochs == 3
    assert sources["search.invited"] == sources["search.rerank_epochs"] == "default"


def test_reasons_tell_where_a_least_value_decided(tiny: dict[str, Any]) -> None:
    materials, origins = begun(tiny)
    _, sources = adapt(materials, origins, Silent(), time_limit=0.001)
    assert sources["budget.parameters"].endswith("of the backbone's weights, at least 10,000")
    assert "the fewest that make sense" in sources["supernet.epochs"]
    assert sources["supernet.epochs"].endswith("a step 0 fit")
