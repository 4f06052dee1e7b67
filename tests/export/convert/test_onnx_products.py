"""Which products 8 bits serve, and what is said of the others."""

from __future__ import annotations

import onnx
import pytest
from onnx import ModelProto

from export.convert.onnx_products import choose_products
from noah.errors import ExportError
from tests.export.small_vit import write_small_vit


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    path = tmp_path_factory.mktemp("products") / "model.onnx"
    write_small_vit(path)
    return onnx.load(path)


def scope_of(model: ModelProto, name: str) -> str:
    node = next(node for node in model.graph.node if node.name == name)
    return next(note.value for note in node.metadata_props if note.key.endswith("name_scopes"))


def test_the_four_linear_layers_of_each_block_are_taken(model: ModelProto) -> None:
    products = choose_products(model, gemm=True, exclude_last_block=False)
    scopes = [scope_of(model, name) for name in products.names]
    assert len(scopes) == 8
    for block in range(2):
        for layer in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            assert sum(f"blocks.{block}.{layer}" in scope for scope in scopes) == 1
    # Two products of attention in each block, and the head of 5 classes.
    assert products.kept == {"of two activations or head by head": 4, "with weights narrower than 32": 1}


def test_the_last_block_can_be_left_out(model: ModelProto) -> None:
    products = choose_products(model, gemm=True, exclude_last_block=True)
    assert len(products.names) == 4
    assert all("blocks.0." in scope_of(model, name) for name in products.names)
    assert products.kept["in the last block"] == 4


def test_blocks_that_lose_too_much_can_be_left_out(model: ModelProto) -> None:
    everything = choose_products(model, gemm=True, exclude_last_block=False)
    assert everything.blocks == (0,) * 4 + (1,) * 4
    products = choose_products(model, gemm=True, exclude_last_block=False, float_blocks=(0,))
    assert products.names == everything.names[4:]
    assert products.blocks == (1,) * 4
    assert products.kept["in blocks that lose too much"] == 4


def test_gemm_can_be_left_out(model: ModelProto) -> None:
    changed = ModelProto()
    changed.CopyFrom(model)
    head = next(tensor for tensor in changed.graph.initializer if tuple(tensor.dims) == (5, 32))
    del head.dims[:]
    head.dims.extend((32, 32))  # a head of 32 classes; its values are not read
    assert len(choose_products(changed, gemm=True, exclude_last_block=False).names) == 9
    products = choose_products(changed, gemm=False, exclude_last_block=False)
    assert len(products.names) == 8
    assert products.kept["of one token alone"] == 1


def test_without_the_notes_of_the_exporter_the_last_block_is_unknown(model: ModelProto) -> None:
    bare = ModelProto()
    bare.CopyFrom(model)
    for node in bare.graph.node:
        del node.metadata_props[:]
    assert len(choose_products(bare, gemm=True, exclude_last_block=False).names) == 8
    with pytest.raises(ExportError, match="did not note which block"):
        choose_products(bare, gemm=True, exclude_last_block=True)


def test_a_network_without_wide_products_is_refused(model: ModelProto) -> None:
    narrow = ModelProto()
    narrow.CopyFrom(model)
    for tensor in narrow.graph.initializer:
        if len(tensor.dims) == 2:
            tensor.dims[1] = 31
    with pytest.raises(ExportError, match="has no products to quantize"):
        choose_products(narrow, gemm=True, exclude_last_block=False)
