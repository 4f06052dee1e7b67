"""Every kind of module as an ONNX file: the same logits as in torch, and the plain backbone's graph if it folds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from export.convert.to_onnx import write_onnx
from export.runtime.onnx_session import open_session
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.kinds import KINDS
from noah.space.search_space import PRESETS
from noah.space.subnet import Subnet

SIDE, DEPTH = 16, 2


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    """Random modules of every kind on a small backbone with LayerScale and biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = VisionTransformer(
            img_size=SIDE, patch_size=8, embed_dim=32, depth=DEPTH, num_heads=4, num_classes=0, init_values=0.3
        )
        for parameter in backbone.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        largest = Subnet.uniform(DEPTH, **{name: max(kind.widths) for name, kind in KINDS.items()})
        made = Supernet(backbone, largest, num_classes=5).eval()
        for name, parameter in made.named_parameters():
            if not name.startswith("backbone."):
                nn.init.normal_(parameter, std=0.2)
    return made


def written(supernet: Supernet, subnet: Subnet, path: Path) -> onnx.ModelProto:
    write_onnx(merge(supernet, subnet), path, height=SIDE, width=SIDE, raw_pixels=False)
    return onnx.load(str(path))


def nodes(model: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def shapes(model: onnx.ModelProto) -> Counter[tuple[int, ...]]:
    return Counter(tuple(weights.dims) for weights in model.graph.initializer)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_gives_the_logits_of_the_torch_subnet(kind: str, supernet: Supernet, tmp_path: Path) -> None:
    subnet = Subnet.uniform(DEPTH, **{kind: max(KINDS[kind].widths)})
    written(supernet, subnet, tmp_path / "model.onnx")
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = supernet(images, subnet).numpy()
    found = open_session(tmp_path / "model.onnx").run(images.numpy())
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def test_whatever_the_space_mergeable_offers_leaves_the_plain_backbone_s_graph(
    supernet: Supernet, tmp_path: Path
) -> None:
    subnet = Subnet.uniform(DEPTH, **{kind: max(widths) for kind, widths in PRESETS["mergeable"].items()})
    found = written(supernet, subnet, tmp_path / "subnet.onnx")
    plain = written(supernet, Subnet.uniform(DEPTH), tmp_path / "plain.onnx")
    assert [node.op_type for node in found.graph.node] == [node.op_type for node in plain.graph.node]
    assert [tuple(w.dims) for w in found.graph.initializer] == [tuple(w.dims) for w in plain.graph.initializer]


def test_what_does_not_fold_is_seen_in_the_graph(supernet: Supernet, tmp_path: Path) -> None:
    plain = written(supernet, Subnet.uniform(DEPTH), tmp_path / "plain.onnx")
    for kind in (name for name, kind in KINDS.items() if not kind.folds):
        found = written(supernet, Subnet.uniform(DEPTH, **{kind: 1}), tmp_path / f"{kind}.onnx")
        assert nodes(found) != nodes(plain) or shapes(found) != shapes(plain), kind
