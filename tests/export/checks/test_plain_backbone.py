"""The plain backbone is exported as the artifact was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from packaging.version import Version

from export.artifact.manifest import read_manifest
from export.artifact.records import Precision
from export.checks.plain_backbone import PlainBackbone, plain_backbone, write_plain_backbone
from export.convert.type_check import check_types, read_types
from export.runtime.onnx_session import open_session
from noah.errors import UsageError
from tests.finished import FLOAT, UINT8, Finished


@pytest.mark.parametrize("name", [FLOAT, UINT8])
@pytest.mark.parametrize(("precision", "quantized"), [("fp32", 0), ("fp16", 0), ("int8-dynamic", 24)])
def test_it_takes_and_gives_what_the_artifact_does(
    finished: Finished, tmp_path: Path, name: str, precision: Precision, quantized: int
) -> None:
    manifest = read_manifest(finished.artifact(name))
    backbone = plain_backbone(manifest, precision)
    write_plain_backbone(backbone, tmp_path / "backbone.onnx")
    check_types(read_types(tmp_path / "backbone.onnx"), precision, quantized)
    shape = manifest.input.shape[1:]
    images = np.ones((3, *map(int, shape)), np.uint8 if name == UINT8 else np.float32)
    assert open_session(tmp_path / "backbone.onnx", provider="cpu").run(images).shape == (3, 3)


def test_it_has_every_layer_of_the_backbone_and_no_other(finished: Finished, tmp_path: Path) -> None:
    """The merged network's last block is smaller; the plain one's is whole."""
    write_plain_backbone(plain_backbone(read_manifest(finished.artifact()), "fp32"), tmp_path / "b.onnx")
    shapes = [tuple(tensor.dims) for tensor in onnx.load(tmp_path / "b.onnx").graph.initializer]
    assert shapes.count((64, 192)) == 12  # of each block query, key and value, and the first layer of the MLP


@pytest.mark.skipif(Version(torch.__version__) < Version("2.11"), reason="torch 2.8 takes RMS norms apart")
@pytest.mark.parametrize("precision", ["fp32", "int8-dynamic"])
def test_one_with_rms_norms_is_written_as_any_other(precision: Precision, tmp_path: Path) -> None:
    backbone = PlainBackbone(
        architecture="vit_tiny_patch16_224(depth=1, norm_layer='rmsnorm')",
        image_size=(32, 32),
        classes=3,
        raw_pixels=False,
        probabilities=False,
        precision=precision,
    )
    write_plain_backbone(backbone, tmp_path / "backbone.onnx")
    assert "RMSNormalization" in {node.op_type for node in onnx.load(tmp_path / "backbone.onnx").graph.node}
    images = np.ones((2, 3, 32, 32), np.float32)
    assert open_session(tmp_path / "backbone.onnx", provider="cpu").run(images).shape == (2, 3)


def test_artifacts_that_are_alike_share_one(finished: Finished) -> None:
    first, second = (plain_backbone(read_manifest(finished.artifact()), "fp32") for _ in range(2))
    assert first == second
    assert first != plain_backbone(read_manifest(finished.artifact(UINT8)), "fp32")


def test_random_weights_are_not_calibrated(finished: Finished, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to calibrate it on"):
        write_plain_backbone(plain_backbone(read_manifest(finished.artifact()), "int8"), tmp_path / "b.onnx")
    assert not list(tmp_path.iterdir())
