"""8-bit files of a small real network: what is in them, and how near they are to the float32 one."""

from __future__ import annotations

import inspect
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import quantize_static

from export.artifact.records import Int8Calibration
from export.convert import quantize
from export.convert.onnx_files import check_valid
from export.convert.onnx_products import Products, choose_products
from export.convert.quantize import Inputs, usable_weight_bits, write_int8, write_int8_dynamic
from export.convert.to_tensorrt import build_engine
from export.convert.type_check import check_types, read_types
from export.runtime.onnx_session import open_session
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_builder
from noah.errors import ExportError, UnreadableImageError
from tests.export.small_vit import random_images, write_small_vit

BATCHES: list[Inputs] = [{"images": random_images(count)} for count in (8, 5, 7)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "model.onnx"
    write_small_vit(path)
    return path


def products_of(path: Path, *, gemm: bool = True) -> Products:
    return choose_products(onnx.load(path, load_external_data=False), gemm=gemm, exclude_last_block=False)


def write(
    source: Path,
    target: Path,
    batches: Sequence[Inputs] = BATCHES,
    calibration: Int8Calibration = "minmax",
    symmetric: bool = False,
    weight_bits: int | None = None,
) -> Path:
    products = products_of(source)
    write_int8(source, target, products, batches, calibration=calibration, symmetric=symmetric, weight_bits=weight_bits)
    return target


def mean_difference(source: Path, path: Path) -> float:
    images = random_images(32)
    expected, found = (open_session(file, provider="cpu", threads=1).run(images) for file in (source, path))
    return float(np.abs(found - expected).mean() / np.abs(expected).max())


@pytest.mark.parametrize("calibration", get_args(Int8Calibration))
def test_the_outputs_stay_near_whatever_the_calibration(
    source: Path, tmp_path: Path, calibration: Int8Calibration
) -> None:
    path = write(source, tmp_path / "int8.onnx", calibration=calibration)
    check_valid(path)
    assert 1e-5 < mean_difference(source, path) < 3e-2


@pytest.mark.parametrize(("symmetric", "kind"), [(False, "uint8+int8"), (True, "int8+int8")])
def test_products_read_8_bits_and_all_else_is_float32(source: Path, tmp_path: Path, symmetric: bool, kind: str) -> None:
    found = read_types(write(source, tmp_path / "int8.onnx", symmetric=symmetric))
    check_types(found, "int8", 8)
    assert found["MatMul"] == {kind: 8, "float32": 4}
    assert found["Gemm"] == found["Conv"] == {"float32": 1}
    assert found["LayerNormalization"] == {"float32": 5}
    assert found["weights"]["int8"] == 8


def test_weights_have_a_scale_for_each_channel(source: Path, tmp_path: Path) -> None:
    model = onnx.load(write(source, tmp_path / "int8.onnx"))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    floats = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(source).graph.initializer}
    scales = [node.input for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in values]
    assert len(scales) == 8
    for weight, scale, zero_point in scales:
        assert values[scale].shape == values[weight].shape[1:]
        assert not values[zero_point].any()
        original = floats[weight.removesuffix("_quantized")]
        restored = values[weight].astype(np.float32) * values[scale]
        assert (np.abs(restored - original) <= 0.501 * values[scale]).all()


def test_the_ranges_are_those_of_the_images(source: Path, tmp_path: Path) -> None:
    """The scale of an activation spreads the least and the greatest value that it has on the images over 255 steps."""
    model = onnx.load(write(source, tmp_path / "int8.onnx"))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    scales = {
        node.input[0]: float(values[node.input[1]]) for node in model.graph.node if node.op_type == "QuantizeLinear"
    }
    opened = onnx.load(source)
    made = {output for node in opened.graph.node for output in node.output}
    assert len(scales) == 8 and set(scales) <= made
    del opened.graph.output[:]
    opened.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in scales)
    session = onnxruntime.InferenceSession(opened.SerializeToString(), providers=["CPUExecutionProvider"])
    seen = [session.run(list(scales), batch) for batch in BATCHES]
    for scale, *batches in zip(scales.values(), *seen, strict=True):
        low, high = min(0.0, *(batch.min() for batch in batches)), max(0.0, *(batch.max() for batch in batches))
        assert scale == pytest.approx((high - low) / 255, rel=1e-4)


@pytest.mark.parametrize(
    ("machine", "vnni", "bits", "limit"),
    [("x86_64", True, 8, 127), ("x86_64", False, 7, 64), ("aarch64", False, 8, 127)],
)
def test_weights_have_as_many_bits_as_the_processor_multiplies_exactly(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, vnni: bool, bits: int, limit: int
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    assert usable_weight_bits() == bits
    file = write(source, tmp_path / "int8.onnx")
    arrays = [numpy_helper.to_array(each) for each in onnx.load(str(file)).graph.initializer]
    largest = max(int(np.abs(array.astype(int)).max()) for array in arrays if array.dtype == np.int8 and array.ndim > 1)
    assert largest == limit


def test_every_batch_is_seen(source: Path, tmp_path: Path) -> None:
    class Counted(list[Inputs]):
        seen: list[int]

        def __getitem__(self, index: object) -> Inputs:  # type: ignore[override]  # of whole numbers alone
            assert isinstance(index, int)
            self.seen.append(index)
            return BATCHES[index]

    for calibration in get_args(Int8Calibration):
        batches = Counted(BATCHES)
        batches.seen = []
        write(source, tmp_path / "int8.onnx", batches, calibration)
        assert batches.seen == [0, 1, 2]


@pytest.mark.skipif(
    "calibration_cache_path" not in inspect.signature(quantize_static).parameters,
    reason="onnxruntime 1.22 keeps no ranges",
)
def test_ranges_that_were_found_serve_again_for_fewer_products(source: Path, tmp_path: Path) -> None:
    class Unread(list[Inputs]):
        def __getitem__(self, index: object) -> Inputs:  # type: ignore[override]  # of whole numbers alone
            raise AssertionError

    products, ranges = products_of(source), tmp_path / "ranges.json"
    fewer = choose_products(onnx.load(source), gemm=True, exclude_last_block=False, float_blocks=(1,))
    assert 0 < len(fewer.names) < len(products.names)
    written = {}
    for name, chosen, batches, cache in (
        ("first", products, BATCHES, ranges),
        ("again", products, Unread(BATCHES), ranges),
        ("fewer", fewer, Unread(BATCHES), ranges),
        ("expected", fewer, BATCHES, None),
    ):
        file = tmp_path / f"{name}.onnx"
        write_int8(source, file, chosen, batches, calibration="minmax", symmetric=False, ranges=cache)
        written[name] = open_session(file, provider="cpu", threads=1).run(random_images(4))
    assert np.array_equal(written["first"], written["again"])
    assert np.array_equal(written["fewer"], written["expected"])
    assert not np.array_equal(written["first"], written["fewer"])


def test_an_onnxruntime_that_keeps_no_ranges_looks_at_the_images_again(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_in_1_22(*arguments: object, **options: object) -> None:
        assert "calibration_cache_path" not in options
        newer(*arguments, **options)

    newer, ranges, written = quantize.quantize_static, tmp_path / "ranges.json", []
    monkeypatch.setattr(quantize, "quantize_static", as_in_1_22)
    for name in ("first", "again"):
        file = tmp_path / f"{name}.onnx"
        write_int8(source, file, products_of(source), BATCHES, calibration="minmax", symmetric=False, ranges=ranges)
        written.append(open_session(file, provider="cpu", threads=1).run(random_images(4)))
    assert not ranges.exists()
    assert np.array_equal(*written)


def test_dynamic_files_are_near_too(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "dynamic.onnx"
    write_int8_dynamic(source, path, products_of(source, gemm=False))
    check_valid(path)
    found = read_types(path)
    check_types(found, "int8-dynamic", 8)
    assert found["MatMulInteger"] == {"uint8+int8": 8}
    assert found["weights"]["int8"] == 8
    assert 1e-5 < mean_difference(source, path) < 3e-2


def test_only_operator_sets_in_use_are_named(source: Path, tmp_path: Path) -> None:
    model = onnx.load(write(source, tmp_path / "int8.onnx"))
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]


def test_nothing_is_left_beside_the_files(source: Path, tmp_path: Path) -> None:
    before = {path.name for path in source.parent.iterdir()}
    write(source, tmp_path / "int8.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["int8.onnx"]
    assert {path.name for path in source.parent.iterdir()} == before


def test_weights_beyond_the_limit_of_protobuf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = tmp_path / "usual"
    usual.mkdir()
    write_small_vit(usual / "model.onnx")
    expected = write(usual / "model.onnx", usual / "int8.onnx")
    monkeypatch.setattr("export.convert.onnx_files.PROTOBUF_LIMIT", 10_000)
    large, folder = tmp_path / "large", tmp_path / "written"
    large.mkdir()
    folder.mkdir()
    write_small_vit(large / "model.onnx")
    path = write(large / "model.onnx", folder / "int8.onnx")
    assert {file.name for file in folder.iterdir()} == {"int8.onnx", "int8.onnx.data"}
    images = random_images(4)
    found, right = (open_session(file, provider="cpu", threads=1).run(images) for file in (path, expected))
    assert np.array_equal(found, right)
    write_int8_dynamic(large / "model.onnx", folder / "dynamic.onnx", products_of(large / "model.onnx", gemm=False))
    check_types(read_types(folder / "dynamic.onnx"), "int8-dynamic", 8)


def test_an_image_that_cannot_be_read_is_told_as_such(source: Path, tmp_path: Path) -> None:
    class Broken(list[Inputs]):
        def __getitem__(self, index: object) -> Inputs:  # type: ignore[override]  # of whole numbers alone
            raise UnreadableImageError("Cannot read a.png: it is empty.")

    with pytest.raises(UnreadableImageError, match=r"a\.png"):
        write(source, tmp_path / "int8.onnx", Broken(BATCHES))


def test_a_refusal_of_onnxruntime_is_told_in_its_words(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"onnxruntime cannot quantize the model: .*images"):
        write(source, tmp_path / "int8.onnx", [{"pictures": random_images(2)}])


def test_an_engine_takes_the_symmetric_file_and_not_the_other(source: Path, tmp_path: Path) -> None:
    builder, profile = choose_builder("int8", ("sm89",)), Profile(1, 2, 4)
    symmetric = write(source, tmp_path / "symmetric.onnx", symmetric=True)
    record = build_engine(symmetric, tmp_path / "engine", builder, profile, "int8", tmp_path / "cache")
    assert record.layers["QUANTIZE"] == {"INT8": 8}
    assert set(record.layers["MATRIX_MULTIPLY"]) == {"FLOAT"}
    with pytest.raises(ExportError, match="Non-zero zero point is not supported"):
        build_engine(
            write(source, tmp_path / "other.onnx"), tmp_path / "other", builder, profile, "int8", tmp_path / "cache"
        )
    with pytest.raises(ExportError, match="it has no 8-bit activations"):
        build_engine(source, tmp_path / "plain", builder, profile, "int8", tmp_path / "cache")
    with pytest.raises(ExportError, match="it has 8-bit activations"):
        build_engine(symmetric, tmp_path / "claims", builder, profile, "fp32", tmp_path / "cache")


def test_a_network_that_cannot_be_prepared_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = tmp_path / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    (tmp_path / "unknown.onnx").write_bytes(b"no network")
    with pytest.raises(ExportError, match="onnxruntime cannot quantize the model"):
        write_int8_dynamic(tmp_path / "unknown.onnx", tmp_path / "int8.onnx", Products((), (), {}))
    assert not list(working.iterdir())
    assert [path.name for path in tmp_path.glob("*.onnx")] == ["unknown.onnx"]


@pytest.mark.parametrize("relative", [False, True])
def test_a_path_may_be_relative(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool) -> None:
    monkeypatch.chdir(source.parent)
    path = Path(source.name) if relative else source
    write_int8_dynamic(path, tmp_path / "int8.onnx", products_of(source))
    assert (tmp_path / "int8.onnx").is_file()
    assert [file.name for file in source.parent.iterdir()] == [source.name]
