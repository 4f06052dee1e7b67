from __future__ import annotations

from pathlib import Path

import pytest
import torch

from noah.errors import RunError
from noah.prepare.build import build_supernet, class_weights, load_supernet
from noah.prepare.context import seed_torch
from noah.progress import Silent
from noah.settings.training_settings import TrainingSettings
from noah.training.checkpoint import save_checkpoint
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("prompt_dropout", ["per_batch", "per_image"])
def test_a_supernet_is_what_settings_and_data_say(tiny_settings: TinySettings, prompt_dropout: str) -> None:
    materials = make_materials(tiny_settings())
    training = TrainingSettings.model_validate(
        {"epochs": 20, "learning_rate": 1e-3, "dropout": 0.25, "drop_path": 0.5, "prompt_dropout": prompt_dropout}
    )
    supernet = build_supernet(materials, materials.space.largest, training)
    assert (supernet.largest, supernet.num_classes) == (materials.space.largest, 3)
    assert supernet.backbone is materials.backbone.model  # shared, not copied
    assert supernet.drop_path_rates[-1] == 0.5
    assert supernet.prompt_dropout_per_image == (prompt_dropout == "per_image")
    modules = [*supernet.prompts, *supernet.loras, *supernet.adapters]
    assert {module.dropout for module in modules} == {0.25}


def test_a_stored_supernet_comes_back_in_evaluation_mode(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make_materials(tiny_settings())
    run = start_run(tmp_path, materials)
    with pytest.raises(RunError, match="is missing"):
        load_supernet(run, materials)
    seed_torch(5)
    supernet = build_supernet(materials, materials.space.largest, materials.settings.supernet)
    optimizer = torch.optim.AdamW(parameter for parameter in supernet.parameters() if parameter.requires_grad)
    save_checkpoint(run.path("supernet", "checkpoint.safetensors"), supernet, optimizer, [0.5, 0.25])
    loaded = load_supernet(run, materials)
    assert not loaded.training
    torch.testing.assert_close(loaded.trainable_state(), supernet.trainable_state(), rtol=0, atol=0)


def test_class_weights_are_those_of_the_settings(tiny_settings: TinySettings) -> None:
    plain = make_materials(tiny_settings())
    pixels = plain.pixels(plain.dataset.train, "some", Silent())
    assert class_weights(pixels, plain) is None
    balanced = make_materials(tiny_settings({"data.class_weights": "balanced"}))
    torch.testing.assert_close(class_weights(pixels, balanced), torch.ones(3))  # 12 images of each class
