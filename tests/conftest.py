"""Fixtures that several rooms share: a tiny real backbone, a few real photographs, settings for a run of seconds.

torch and timm are imported inside the fixtures, so that tests which need neither start at once.
"""

from __future__ import annotations

import copy
import gc
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from PIL import Image

from tests.once import made_once, shared_folder

# Two workers on two cores; what a test computes does not depend on it, and torch reads it when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on every machine, however slow or busy it is; make test-slow takes the thorough ones.
hypothesis.settings.register_profile("noah", deadline=None, derandomize=True, max_examples=25)
hypothesis.settings.register_profile("thorough", deadline=None, derandomize=True, max_examples=100)
hypothesis.settings.load_profile("noah")


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what the modules hold, which is most of what there is.

    A forecast collects garbage before it measures memory, and went through half a million objects of torch each time.
    """
    gc.collect()
    gc.freeze()


TINY_ARCHITECTURE = "test_vit"
TINY_IMAGE_SIZE = 32
PHOTO_CLASSES = ("circle", "square", "stripes")
PHOTO_COUNTS = {"train": 12, "val": 6, "test": 6}
"""Photographs of each class."""

TinySettings = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def tiny_backbone_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The .safetensors state dict of timm's `test_vit` (D 64, 6 blocks, patch 16, native 160 px) with a head of 10.

    Every weight is random and large enough to matter, so that a part which is left out or doubled changes the output.
    """

    def make(folder: Path) -> None:
        import timm
        import torch
        from safetensors.torch import save_file

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = timm.create_model(TINY_ARCHITECTURE, num_classes=10)
            state = {
                name: torch.ones_like(value) + 0.1 * torch.randn_like(value)
                if "norm" in name and name.endswith("weight")
                else torch.randn_like(value) * (value[0].numel() ** -0.5 if name.endswith("weight") else 0.2)
                for name, value in model.state_dict().items()
            }
        save_file(state, folder / "tiny_vit.safetensors")

    return made_once(shared_folder(tmp_path_factory) / "backbone", make) / "tiny_vit.safetensors"


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FOLDER/<train|val|test>/<class>/<number>.png: 3 classes of noisy colored shapes, 12 / 6 / 6 of each, 40 x 32."""

    def make(folder: Path) -> None:
        rng = np.random.default_rng(7)
        for split, count in PHOTO_COUNTS.items():
            for name in PHOTO_CLASSES:
                (folder / "shapes" / split / name).mkdir(parents=True)
                for number in range(count):
                    Image.fromarray(draw_photo(name, rng)).save(folder / "shapes" / split / name / f"{number:02}.png")

    return made_once(shared_folder(tmp_path_factory) / "photos", make) / "shapes"


def draw_photo(name: str, rng: np.random.Generator, height: int = 32, width: int = 40) -> np.ndarray:
    """One photograph, uint8 (height, width, 3): a shape in roughly its class's color, somewhere, on noise."""
    y, x = np.mgrid[:height, :width]
    center_y, center_x, radius = rng.uniform(12, 20), rng.uniform(12, 28), rng.uniform(7, 11)
    mask, color = {
        "circle": (np.hypot(y - center_y, x - center_x) < radius, (210, 60, 50)),
        "square": (np.maximum(abs(y - center_y), abs(x - center_x)) < radius, (50, 190, 70)),
        "stripes": ((x + rng.integers(8)) % 8 < 4, (60, 70, 220)),
    }[name]
    pixels = rng.normal(110, 25, (height, width, 3))
    pixels[mask] = rng.normal(color, 20, (int(mask.sum()), 3))
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def tiny_settings(tiny_backbone_file: Path, photo_folder: Path) -> TinySettings:
    """A function that gives nested settings of a run of seconds on the two above.

    `tiny_settings({"search.generations": 2})` replaces single values by dotted key.
    """
    training = {
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-2,
        "warmup_epochs": 0,
        "minimum_learning_rate": 1e-3,
    }
    defaults: dict[str, Any] = {
        "data": {"folder": str(photo_folder)},
        "backbone": {
            "name": str(tiny_backbone_file),
            "architecture": TINY_ARCHITECTURE,
            "image_size": TINY_IMAGE_SIZE,
            "resize": "squash",
        },
        "budget": {"parameters": 14_000},  # one draw in ten exceeds it; the largest subnet has 27,324
        "supernet": training,
        "space": {"preset": "paper"},
        "search": {
            **{"generations": 1, "population": 4, "parents": 2, "mutations": 2, "crossovers": 2},
            **{"baselines": False, "rerank": 0, "rerank_by": "accuracy"},  # the recipe `auto` has a final
        },
        "retrain": dict(training),
        "hardware": {"device": "cpu", "precision": "fp32", "threads": 1},
    }

    def settings(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        values = copy.deepcopy(defaults)
        for key, value in (changes or {}).items():
            *sections, last = key.split(".")
            section = values
            for name in sections:
                section = section.setdefault(name, {})
            section[last] = value
        return values

    return settings


@pytest.fixture(scope="session")
def kept_exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From here on torch's ONNX exporter is asked once for each network, by whichever worker needs it first."""
    import torch

    from tests.kept_exports import exporter_that_keeps

    folder = shared_folder(tmp_path_factory) / "exports"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", exporter_that_keeps(torch.onnx.export, folder))
        yield


@pytest.fixture
def one_thread() -> Iterator[None]:
    """torch on one thread, and the number of threads restored at the end."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
