"""What travels to machines is what was sent, bit for bit, with its large parts beside the rest."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

from noah.cluster.shared import pack, unpack
from noah.evaluation.score import compute_logits
from noah.model.merge import merge
from noah.nas.candidate_evaluation import candidate_logits
from noah.prepare.build import build_supernet
from noah.progress import Silent
from noah.stages.finalist import FinalMaterial
from noah.stages.spread_final import _to_send
from noah.stages.spread_search import _Held, without_files
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(6.0).reshape(2, 3),
        torch.arange(6.0).reshape(2, 3).T,  # another order in memory, which stays
        torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16(),
        torch.tensor(3.5),
        torch.empty(0, 4),
        torch.tensor([True, False]),
        torch.nn.Parameter(torch.ones(2), requires_grad=False),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=["plain", "transposed", "bf16", "scalar", "empty", "bool", "frozen", "trained"],
)
def test_tensors(tensor: torch.Tensor) -> None:
    first, second = unpack(*pack((tensor, tensor)))
    assert first is second and type(first) is type(tensor)
    assert (first.dtype, first.shape, first.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
    assert first.requires_grad == tensor.requires_grad
    assert torch.equal(first, tensor)


def test_a_search_and_a_final_travel_beside_their_bytes(tiny_settings: TinySettings) -> None:
    """The processes of a machine share the bytes; what each has to build for itself is small."""
    materials = make_materials(tiny_settings({"hardware.threads": 1}))
    validation = materials.pixels(materials.dataset.validation, "validation", Silent())
    train = materials.pixels(materials.dataset.train, "training", Silent())
    torch.manual_seed(0)
    supernet = build_supernet(materials, materials.space.largest, materials.settings.supernet).eval()
    hardware, preprocessing = materials.hardware, materials.backbone.preprocessing
    held = _Held(supernet, without_files(validation), preprocessing, hardware, 4, None)
    head, arrays = pack(held)
    assert len(head) < 300_000 < sum(array.nbytes for array in arrays)
    for array in arrays:
        array.flags.writeable = False  # as in the memory that processes share
    there: _Held = unpack(head, arrays)
    images = np.array([3, 0, 7, 11])
    largest = materials.space.largest
    asks = [
        candidate_logits(each.supernet, each.validation, preprocessing, hardware, 4)(largest, images)
        for each in (held, there)
    ]
    assert np.array_equal(*asks)

    final = FinalMaterial(materials, train, validation, supernet)
    head, arrays = pack(_to_send(final))
    again: FinalMaterial = unpack(head, [bytearray(array) for array in arrays])
    assert len(head) < 600_000
    assert len(again.materials.dataset.train) == 0 and again.materials.dataset.classes == materials.dataset.classes
    assert np.array_equal(again.pixels.batch(images), train.batch(images))  # type: ignore[union-attr]
    model = build_supernet(again.materials, largest, again.materials.settings.retrain).eval()
    model.load_trainable_state(supernet.trainable_state())
    networks = [merge(each, largest) for each in (supernet, model)]
    logits = [compute_logits(each, validation, preprocessing, hardware, 4) for each in networks]
    assert np.array_equal(*logits)


def test_what_is_no_tensor_is_pickled_as_always() -> None:
    value = {"a": np.arange(5), "b": ("text", None)}
    again = unpack(*pack(value))
    assert again["b"] == value["b"] and np.array_equal(again["a"], np.arange(5))
    assert pickle.load(io.BytesIO(pack(1)[0])) == 1  # noqa: S301  # of this test's own making
