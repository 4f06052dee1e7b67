"""Every reader of files that a stranger may have made: real files to damage, attacks, and how each is read.

Readers run in the worker process, in the folder of a copied run; what they raise beside a NoahError is a defect.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE
from tests.fuzz.attacks import png

RUN = Path("runs/shapes/first")
"""The run, from the worker's folder."""
BACKBONE = Path("backbone.safetensors")
"""A copy of the tiny backbone's weights, there too."""
Kind = Literal["bytes", "text", "json", "lines"]


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: In the table.
        places: Suffix or name of a file -> how its content is damaged.
        seeds: Gives real files: (place, content), made or found in the worker's folder.
        attacks: Names of functions of `tests.fuzz.attacks`, for files at each place.
        read: Reads the damaged file, which lies at the path.
        home: Where the file has to lie in the worker's folder; anywhere if not given.
    """

    name: str
    kind: Kind
    seeds: Callable[[], Iterator[tuple[str, bytes]]]
    read: Callable[[Path], object]
    attacks: tuple[str, ...] = ()
    home: Path | None = None
    share: float = field(default=1.0)


def of_run(*names: str) -> Callable[[], Iterator[tuple[str, bytes]]]:
    """Real files of the run."""

    def seeds() -> Iterator[tuple[str, bytes]]:
        for name in names:
            yield Path(name).name, (RUN / name).read_bytes()

    return seeds


def _run() -> Any:
    from noah.runs.folder import Run

    return Run(RUN)


def _listener() -> Any:
    from rich.console import Console

    from noah_cli.terminal.console import ConsoleListener

    listener = ConsoleListener()
    listener.console = Console(file=io.StringIO(), width=100)
    return listener


def _read_description(_: Path) -> None:
    from noah.checks.comparison import read_figures
    from noah.runs.run_subnet import given_subnet

    run = _run()
    run.settings()
    given_subnet(run)
    read_figures(run)


def _read_settings(path: Path) -> None:
    from noah.settings.layers import file_layer, resolve

    resolve([file_layer(path)])


def _read_winner(_: Path) -> None:
    from noah.checks.comparison import read_figures
    from noah.stages.search_stage import finished_search
    from noah_cli.commands.search_result import print_winner

    run = _run()
    result = finished_search(run)
    if result:
        print_winner(_listener(), result)
    read_figures(run)


def _front_seeds() -> Iterator[tuple[str, bytes]]:
    lines = (RUN / "search/candidates.jsonl").read_bytes().splitlines()
    yield "pareto.json", b"[" + b",".join(lines[:3]) + b"]"


def _read_front(_: Path) -> None:
    from noah.runs.run_subnet import front_subnet
    from noah.runs.stored_results import read_front
    from noah_cli.commands.search_result import print_front

    print_front(_listener(), read_front(_run()), "accuracy,params")
    front_subnet(_run(), "pareto:1")


def _check_run(_: Path) -> None:
    from noah.checks.verification import check_run

    list(check_run(_run()))


def _check_artifacts(_: Path) -> None:
    from export.checks.belonging import check_artifacts

    list(check_artifacts(_run()))


def _read_result(_: Path) -> None:
    from noah.runs.stored_results import read_result
    from noah_cli.commands.evaluate import _print_result

    _print_result(_listener(), read_result(_run(), "eval", "test.json"), "the winner")


def _read_predictions(_: Path) -> None:
    from noah.checks.comparison import read_figures

    read_figures(_run())


def _read_trained(_: Path) -> None:
    from noah.runs.run_subnet import read_subnet

    read_subnet(_run(), "retrain", "model.json")
    _check_run(_)


def _rerank_seeds() -> Iterator[tuple[str, bytes]]:
    best = json.loads((RUN / "search/best.json").read_bytes())
    keys = ("index", "subnet", "correct", "total", "accuracy", "standard_error", "cross_entropy", "wrong")
    line = json.dumps({key: best[key] for key in keys} | {"losses": [1.5, 0.5]}).encode()
    yield "rerank.jsonl", line + b"\n" + line + b"\n"


def _read_rerank(path: Path) -> None:
    from noah.stages.rerank import read_reranked

    read_reranked(path)


def _materials() -> Any:
    from noah.prepare.context import prepare
    from noah.progress import Silent
    from noah.settings.layers import Layer, resolve

    values = _run().description()["settings"]
    return _kept("materials", lambda: prepare(resolve([Layer(source="", values=values)])[0], Silent()))


def _journal(_: Path) -> None:
    from noah.stages.search_stage import _open_study

    study = _open_study(_run(), _materials(), new=False)
    study.entries()
    study.beats()


_cache: dict[str, Any] = {}


def _kept(name: str, make: Callable[[], Any]) -> Any:
    if name not in _cache:
        _cache[name] = make()
    return _cache[name]


def _supernet() -> Any:
    from noah.model.supernet import Supernet
    from noah.space.subnet import Subnet

    model = _kept("backbone", lambda: _load_backbone(BACKBONE).model)
    subnet = Subnet.from_json(json.loads((RUN / "retrain/model.json").read_bytes())["subnet"])
    return Supernet(model, subnet, num_classes=3)


def _load_backbone(path: Path) -> Any:
    from noah.backbone.load import load_backbone

    return load_backbone(str(path), architecture=TINY_ARCHITECTURE, image_size=TINY_IMAGE_SIZE)


def _read_checkpoint(path: Path) -> None:
    from noah.training.checkpoint import read_checkpoint, restore
    from noah.training.loop import make_optimizer

    supernet = _supernet()
    restore(read_checkpoint(path), supernet, make_optimizer(supernet, 1e-3, 1e-4))


def _backbone_seeds() -> Iterator[tuple[str, bytes]]:
    import numpy as np
    import torch
    from safetensors.torch import load_file

    from tests.noah.flax_vit import random_arrays, renumbered

    state = load_file(BACKBONE)
    small = {name: value for name, value in state.items() if not name.startswith("head")}
    yield "weights.safetensors", BACKBONE.read_bytes()
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save({"model": small}, file, _use_new_zipfile_serialization=zipped)
        yield "weights.pth", file.getvalue()
    for arrays in (random_arrays(), renumbered(random_arrays(), stacked=True, prefix="params/img/")):
        file = io.BytesIO()
        np.savez(file, **arrays)
        yield "weights.npz", file.getvalue()


def _only(suffix: str) -> Callable[[], Iterator[tuple[str, bytes]]]:
    return lambda: (seed for seed in _backbone_seeds() if seed[0].endswith(suffix))


def _reference_seeds() -> Iterator[tuple[str, bytes]]:
    import argparse

    import numpy as np
    import torch

    with np.load(Path(__file__).parents[1] / "data" / "noah_tiny.npz") as arrays:
        weights = {
            name.removeprefix("weights/"): torch.from_numpy(arrays[name])
            for name in arrays.files
            if name.startswith("weights/")
        }
    for zipped in (True, False):
        file = io.BytesIO()
        content = {"model": weights, "epoch": 3, "args": argparse.Namespace(lr=0.1)}
        torch.save(content, file, _use_new_zipfile_serialization=zipped)
        yield "checkpoint.pth", file.getvalue()


def _read_reference(path: Path) -> None:
    from noah.model.published_weights import load_reference, read_reference_checkpoint

    load_reference(read_reference_checkpoint(path), num_heads=4)


def _modules_seeds() -> Iterator[tuple[str, bytes]]:
    from noah.data.pixels.preprocessing import Preprocessing
    from noah.model.saved_modules import save_modules
    from noah.settings.settings import BackboneSettings

    supernet = _supernet().eval()
    path = Path("modules.safetensors")
    side, half = TINY_IMAGE_SIZE, (0.5, 0.5, 0.5)
    save_modules(
        path,
        supernet,
        supernet.largest,
        classes=("a", "b", "c"),
        preprocessing=Preprocessing(side, side, "squash", 1.0, "bicubic", half, half),
        backbone=BackboneSettings(name=str(BACKBONE), architecture=TINY_ARCHITECTURE, image_size=side),
        architecture=TINY_ARCHITECTURE,
    )
    yield path.name, path.read_bytes()


def _read_modules(path: Path) -> None:
    import noah

    noah.load(path, backbone=_kept("backbone", lambda: _load_backbone(BACKBONE).model))


def _subnet_seeds() -> Iterator[tuple[str, bytes]]:
    best = json.loads((RUN / "search/best.json").read_bytes())
    yield "subnet.json", json.dumps(best["subnet"]).encode()
    yield "subnet.json", json.dumps({"subnet": best["subnet"], "more": 1}).encode()


def _read_subnet(path: Path) -> None:
    from noah.errors import NoahError
    from noah.runs.subnet_text import parse_subnet
    from noah.space.subnet import Subnet

    with contextlib.suppress(NoahError):
        Subnet.from_json(path.read_text(errors="replace"))
    parse_subnet(str(path), depth=6)


def _list_seeds() -> Iterator[tuple[str, bytes]]:
    yield "list.txt", b"a.png 0\nb c.png 1\nd/e.png 2\n"
    yield "list.txt", b"\xef\xbb\xbfa.png 0\r\nb c.png 10\r\n\r\n"


def _read_list(path: Path) -> None:
    from noah.data.sources.lists import read_class_names, read_list
    from noah.errors import NoahError

    folder = Path("listed")
    for name in ("a.png", "b c.png", "d/e.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    with contextlib.suppress(NoahError):
        read_class_names(path, 3, "shapes")
    with contextlib.suppress(NoahError):
        read_list(path, [folder], classes=3, dataset="shapes", layout="Lines.")
    read_list(path, [folder], classes=None, dataset="shapes", layout="Lines.", allow_repeats=True)


_LISTED = [(f"d/{number} .png", ("cat", "dog")[number % 2], number // 2) for number in range(12)]


def _table_seeds() -> Iterator[tuple[str, bytes]]:
    yield "table.csv", b"path,label,group\n" + b"".join(b'"%b",%b,%d\n' % _encoded(row) for row in _LISTED)
    lines = b"".join(b"%b;%b;%d\r\n" % _encoded(row) for row in _LISTED)
    yield "table.csv", b"\xef\xbb\xbffile;class;more\r\n" + lines
    yield "table.tsv", b"path\tlabel\tx\n" + b"".join(b"%b\t%b\t%d\n" % _encoded(row) for row in _LISTED)
    records = (json.dumps(dict(zip(("path", "label", "group"), row, strict=True))) for row in _LISTED)
    yield "table.jsonl", "\n".join(records).encode()


def _encoded(row: tuple[str, str, int]) -> tuple[bytes, bytes, int]:
    return row[0].encode(), row[1].encode(), row[2]


def _parquet_seeds() -> Iterator[tuple[str, bytes]]:
    import pyarrow
    from pyarrow import parquet

    columns = zip(*_LISTED, strict=True)
    table = pyarrow.table(dict(zip(("path", "label", "group"), map(list, columns), strict=True)))
    for compression in ("none", "snappy", "zstd"):
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(table, sink, compression=compression)
        yield "table.parquet", bytes(sink.getvalue())


def _read_table(path: Path) -> None:
    from noah.data.sources.registry import load_dataset
    from noah.settings.settings import DataSettings

    for name, _, _ in _LISTED:
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / name).touch()
    load_dataset(DataSettings(folder=str(path)), seed=0)


def _shard_seeds() -> Iterator[tuple[str, bytes]]:
    import tarfile

    for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=layout) as archive:
            for number, label in enumerate((b"0", b"1") * 6):
                record = json.dumps({"label": number % 2, "group": number // 2}).encode()
                for ending, content in (("png", b"no image"), ("cls", label), ("json", record)):
                    info = tarfile.TarInfo(f"{number}.{ending}")
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
        yield "shard.tar", file.getvalue()


def _read_shard(path: Path) -> None:
    from noah.data.sources.registry import load_dataset
    from noah.errors import UnreadableImageError
    from noah.settings.settings import DataSettings

    dataset = load_dataset(DataSettings(folder=str(path)), seed=0)
    for index in range(len(dataset.train)):
        with contextlib.suppress(UnreadableImageError):
            dataset.train.open(index)


_PACKED = {"a/one.txt": b"1" * 300, "a/b/two.bin": bytes(range(256)) * 40, "three": b""}


def _zip_seeds() -> Iterator[tuple[str, bytes]]:
    import zipfile

    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in _PACKED.items():
                archive.writestr(name, content)
        yield "archive.zip", file.getvalue()


def _tar_seeds() -> Iterator[tuple[str, bytes]]:
    import gzip
    import tarfile

    for layout in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=layout) as archive:
            for name, content in {**_PACKED, "long" * 24: b"x"}.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        yield "archive.tar", file.getvalue()
        yield "archive.tar.gz", gzip.compress(file.getvalue(), mtime=0)


def _unpack(path: Path) -> None:
    from noah.data.sources.archives import unpack

    outside, folder = Path("outside"), Path("outside/target")
    shutil.rmtree(outside, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        unpack(path, folder)
    finally:
        escaped = [found for found in outside.iterdir() if found.name != "target"]
        odd = [found for found in folder.rglob("*") if found.is_symlink() or not (found.is_dir() or found.is_file())]
        shutil.rmtree(outside)
        assert not escaped and not odd and not Path("/tmp/noah-fuzz-escaped").exists(), (escaped, odd)


def _image_seeds() -> Iterator[tuple[str, bytes]]:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    colors = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    for format_, mode in (
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "I;16"),
        ("PNG", "1"),
        ("JPEG", "RGB"),
        ("JPEG", "CMYK"),
        ("WEBP", "RGB"),
        ("GIF", "P"),
        ("TIFF", "RGB"),
        ("TIFF", "F"),
        ("BMP", "RGB"),
        ("PPM", "RGB"),
        ("JPEG2000", "RGB"),
        ("AVIF", "RGB"),
    ):
        file = io.BytesIO()
        image = Image.fromarray(rng.integers(0, 2**16, (24, 32), np.uint16)) if mode == "I;16" else colors.convert(mode)
        image.save(file, format_)
        yield f"image.{format_.lower()}", file.getvalue()


def _read_image(path: Path) -> None:
    from noah.data.decode import open_image

    assert open_image(path).mode == "RGB"


def _unusual_seeds() -> Iterator[tuple[str, bytes]]:
    import numpy as np
    from PIL import Image

    from noah.data.formats import HEIC, JPEG_XL, import_decoder

    rng = np.random.default_rng(0)
    colors = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    for extra in (HEIC, JPEG_XL):
        import_decoder(extra)
    for suffix, image, options in (
        ("heic", colors, {}),
        ("jxl", colors, {}),
        ("jpeg", colors, {"progressive": True}),
        ("mpo", colors, {"save_all": True, "append_images": [colors]}),
        ("png", colors.convert("LA"), {}),
        ("png", colors.convert("P"), {"transparency": 3}),
        ("tiff", Image.fromarray(rng.integers(0, 4096, (24, 32), np.uint16)), {}),
        ("gif", colors.convert("P"), {"save_all": True, "append_images": [colors.convert("P")]}),
    ):
        image.save(file := Path(f"seed.{suffix}"), **options)
        yield f"image.{suffix}", file.read_bytes()
    rows = b"".join(b"\0" + row.tobytes() for row in rng.integers(0, 4096, (24, 32 * 3)).astype(">u2"))
    yield "image.png", png(32, 24, 16, 2, rows)


def _read_unusual(path: Path) -> None:
    from noah.data.decode import decode_image, inspect_image
    from noah.data.decoding import Decoding

    found = inspect_image(path)
    decoded = decode_image(path, Decoding(alpha="black", bit_depth=12, repair=True))
    assert decoded.image.mode == "RGB"
    assert not found.damage or (found.repairable and "repaired" in decoded.remarks)


def _read_images(_: Path) -> None:
    from noah.runs.run_images import read_images

    read_images(_run())


def _read_hashes(_: Path) -> None:
    from noah.prepare.common_images import TestImages

    materials = _materials()
    split = materials.open_test(_listener()).split
    TestImages(_run(), materials, split)


def _earlier_seeds() -> Iterator[tuple[str, bytes]]:
    images = json.loads((RUN / "images.json").read_bytes())
    value = {"run": "shapes/before", "classes": ["circle", "square"], "trained": images["train"], "tested": ""}
    yield "earlier.json", json.dumps(value | {"right": []}).encode()


def _read_earlier(_: Path) -> None:
    from noah.prepare.earlier import read_earlier

    read_earlier(_run())


def _metadata_seeds() -> Iterator[tuple[str, bytes]]:
    rows = [(f"{number} .png", ("cat", "dog")[number % 2]) for number in range(12)]
    yield "metadata.csv", "\n".join(["file_name,label", *(f'"{name}",{label}' for name, label in rows)]).encode()
    yield "metadata.jsonl", "\n".join(json.dumps({"file_name": name, "label": label}) for name, label in rows).encode()


def _read_metadata(path: Path) -> None:
    from noah.data.sources.registry import load_dataset
    from noah.settings.settings import DataSettings

    folder = path.parent / "image folder"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for number in range(12):
        (folder / f"{number} .png").touch()
    shutil.copy(path, folder / path.name)
    load_dataset(DataSettings(folder=str(folder)), seed=0)


_SAVED = Path("saved")


def _saved_seeds() -> Iterator[tuple[str, bytes]]:
    import datasets
    import numpy as np
    from PIL import Image

    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    images = [Image.fromarray(np.full((4, 4, 3), number, np.uint8)) for number in range(12)]
    rows = {"image": images, "label": [number % 2 for number in range(12)]}
    shutil.rmtree(_SAVED, ignore_errors=True)
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(_SAVED)
    for name in ("dataset_info.json", "state.json", "data-00000-of-00001.arrow"):
        yield name, (_SAVED / name).read_bytes()


def _read_saved(path: Path) -> None:
    from noah.data.sources.registry import load_dataset
    from noah.errors import UnreadableImageError
    from noah.settings.settings import DataSettings

    folder = path.parent / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(_SAVED, folder)
    shutil.copy(path, folder / path.name)
    dataset = load_dataset(DataSettings(folder=str(folder)), seed=0)
    for index in range(len(dataset.train)):
        with contextlib.suppress(UnreadableImageError):
            dataset.train.open(index)


def _artifact(path: Path) -> None:
    from export.formats.load import load_predictor

    load_predictor(path.parent, provider="cpu", threads=1)


def _latency_seeds() -> Iterator[tuple[str, bytes]]:
    row = [[0.1, 0.2], [0.3, 0.4]]
    value = {
        "prompts": [0, 4],
        "adapters": [0, 4],
        "blocks": {"plain": row, "fresh": row},
        "ends": 0.5,
        "plain": 2.0,
        "last_readers": "class token",
        "batch_size": 1,
        "hardware": {"device": "cpu"},
        "checks": [{"subnet": {"prompt": [1], "lora": [0], "adapter": [0]}, "predicted": 1.0, "measured": 1.0}],
    }
    from noah.backbone.view import Readers

    yield "latency.json", json.dumps(value | {"last_readers": next(iter(Readers)).value}).encode()


def _read_latency(_: Path) -> None:
    from noah.prepare.run_budget import run_cost

    run_cost("latency", _run(), None)  # type: ignore[arg-type]  # what is timed needs nothing else


def _read_latest(_: Path) -> None:
    from noah.files.latest import follow_latest
    from noah.runs.folder import open_run

    follow_latest(Path("runs/latest/export"))
    open_run(Path("runs"), None)


def _row_seeds() -> Iterator[tuple[str, bytes]]:
    from noah.benchmark.cells import Cell
    from noah.benchmark.rows import Row

    cell = Cell.from_json({"task": "digits", "method": "lora:8", "seed": 0})
    yield f"{cell.file_name}.json", json.dumps(Row(cell, 5, 9, 100, {}).to_json()).encode()


def _read_row(path: Path) -> None:
    from noah.benchmark.rows import read_rows

    rows = Path("sweep/rows")
    shutil.rmtree(rows, ignore_errors=True)
    rows.mkdir(parents=True)
    shutil.copy(path, rows / path.name)
    read_rows(Path("sweep"))


def _sweep_seeds() -> Iterator[tuple[str, bytes]]:
    yield (
        "settings.yaml",
        b"suite: pocket\nprecision: fp32\ntasks:\n  digits:\n    seed: 1\n    supernet: {epochs: 5}\n",
    )


def _read_sweep(path: Path) -> None:
    from noah.benchmark import sweep_settings

    shutil.copy(path, path.with_name(sweep_settings.SWEEP_FILE))
    sweep_settings._read(path.parent)


READERS: Mapping[str, Reader] = {
    reader.name: reader
    for reader in (
        Reader("run.yaml", "text", of_run("run.yaml"), _read_description, ("settings",), RUN),
        Reader("settings file", "text", of_run("run.yaml"), _read_settings, ("settings",)),
        Reader("best.json", "json", of_run("search/best.json"), _read_winner, ("json_texts",), RUN / "search"),
        Reader("pareto.json", "json", _front_seeds, _read_front, ("json_texts",), RUN / "search"),
        Reader(
            "candidates.jsonl", "lines", of_run("search/candidates.jsonl"), _check_run, ("json_texts",), RUN / "search"
        ),
        Reader("rerank.jsonl", "lines", _rerank_seeds, _read_rerank, ("json_texts",)),
        Reader("journal.log", "lines", of_run("search/journal.log"), _journal, ("json_texts",), RUN / "search"),
        Reader("study.json", "json", of_run("search/study.json"), _journal, ("json_texts",), RUN / "search"),
        Reader(
            "retrain/model.json", "json", of_run("retrain/model.json"), _read_trained, ("json_texts",), RUN / "retrain"
        ),
        Reader("eval/test.json", "json", of_run("eval/test.json"), _read_result, ("json_texts",), RUN / "eval"),
        Reader(
            "predictions",
            "json",
            of_run("eval/predictions/test.json"),
            _read_predictions,
            ("json_texts",),
            RUN / "eval/predictions",
        ),
        Reader("seal", "json", of_run("seals/search.json"), _check_run, ("json_texts",), RUN / "seals"),
        Reader("latency.json", "json", _latency_seeds, _read_latency, ("json_texts",), RUN / "search"),
        Reader(
            "manifest.json",
            "json",
            of_run("export/onnx-fp32/manifest.json"),
            _artifact,
            ("json_texts",),
            RUN / "export/onnx-fp32",
        ),
        Reader(
            "eval/artifact",
            "json",
            of_run("eval/artifact/onnx-fp32.json"),
            _check_artifacts,
            ("json_texts",),
            RUN / "eval/artifact",
        ),
        Reader(
            "runs/latest", "text", lambda: iter([("latest", b"shapes/first\n")]), _read_latest, ("lists",), Path("runs")
        ),
        Reader("row of a sweep", "json", _row_seeds, _read_row, ("json_texts",)),
        Reader("sweep.yaml", "text", _sweep_seeds, _read_sweep, ("settings",)),
        Reader(
            "checkpoint of a run", "bytes", of_run("retrain/checkpoint.safetensors"), _read_checkpoint, ("safetensors",)
        ),
        Reader("backbone .safetensors", "bytes", _only(".safetensors"), _load_backbone, ("safetensors",)),
        Reader("backbone .pth", "bytes", _only(".pth"), _load_backbone, ("checkpoints",)),
        Reader("backbone .npz", "bytes", _only(".npz"), _load_backbone, ("arrays",)),
        Reader("published checkpoint", "bytes", _reference_seeds, _read_reference, ("checkpoints",)),
        Reader("saved modules", "bytes", _modules_seeds, _read_modules, ("safetensors",)),
        Reader("subnet", "json", _subnet_seeds, _read_subnet, ("json_texts",)),
        Reader("list of images", "text", _list_seeds, _read_list, ("lists",)),
        Reader("table of images", "text", _table_seeds, _read_table, ("lists",)),
        Reader("table .parquet", "bytes", _parquet_seeds, _read_table),
        Reader("WebDataset shard", "bytes", _shard_seeds, _read_shard, ("tars",)),
        Reader("zip archive", "bytes", _zip_seeds, _unpack, ("zips",)),
        Reader("tar archive", "bytes", _tar_seeds, _unpack, ("tars",)),
        Reader("metadata of a folder", "text", _metadata_seeds, _read_metadata, ("lists",)),
        Reader("saved dataset", "bytes", _saved_seeds, _read_saved),
        Reader("image", "bytes", _image_seeds, _read_image, ("images",), share=2.0),
        Reader("image, as asked for", "bytes", _unusual_seeds, _read_unusual, ("images",), share=2.0),
        Reader("images.json", "json", of_run("images.json"), _read_images, ("json_texts",), RUN),
        Reader("earlier.json", "json", _earlier_seeds, _read_earlier, ("json_texts",), RUN),
        Reader("hashes.npy", "bytes", of_run("data/hashes.npy"), _read_hashes, (), RUN / "data"),
    )
}
