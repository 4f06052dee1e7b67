"""`predict.py` beside a model: what it predicts is what `noah predict` predicts, or it says that it cannot."""

from __future__ import annotations

import ast
import errno
import os
import sys
import venv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export.artifact.manifest import check_files, file_record, read_manifest, write_manifest
from export.artifact.records import ModelOutput, TemperatureRecord
from export.formats.load import load_predictor
from export.predict.image_batches import read_ahead
from export.write import standalone_predict
from export.write.standalone import _load, program_text, prove_standalone, requirements, write_standalone
from noah.data.decoding import Decoding
from noah.data.formats import IMAGE_SUFFIXES
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import FileSplit
from noah.errors import ParityError
from noah.progress import Silent
from noah.settings.settings import ColumnSettings
from tests.commands import noah
from tests.export.real_images import noise, write_broken, write_readable, write_ycbcr
from tests.export.tiny_artifact import CLASSES, PREPROCESSING, Kind, make_artifact, make_manifest, make_model
from tests.finished import FLOAT, UINT8, Finished

ROOT = Path(__file__).parents[3]
TEMPLATE = Path(standalone_predict.__file__)
DECODINGS = [
    Decoding(),
    Decoding(alpha="white", bit_depth=12, repair=True),
    Decoding(alpha="black", bit_depth=16, repair=True),
]


WRONG_ARTIST = b"Exif\0\0II*\0\x08\0\0\0\2\0\x12\1\3\0\1\0\0\0\6\0\0\0\x3b\1\x0b\0\1\0\0\0\0\0\x80\x3f\0\0\0\0"
"""EXIF that turns an image, and whose artist is a number, which cannot be written again."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every kind, readable and not, in a folder and one below it."""
    folder = tmp_path_factory.mktemp("kinds") / "images"
    write_readable(folder)
    write_broken(folder / "broken")
    alpha = noise(13, 17, 4)
    Image.fromarray(alpha, "RGBA").save(folder / "rgba.png")
    Image.fromarray(alpha[..., :2], "LA").save(folder / "la.png")
    Image.fromarray(alpha[..., :3]).quantize(16).save(folder / "p.png", transparency=bytes(range(0, 160, 10)))
    Image.fromarray(alpha[..., 0] > 128).save(folder / "bits.png")
    Image.fromarray(alpha[..., 0]).save(folder / "clear gray.png", transparency=alpha[0, 0, 0].item())
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000
    Image.fromarray(deep).save(folder / "deep.tif", exif=turned)
    Image.fromarray(deep).save(folder / "deep.pgm")
    for suffix in ("png", "webp", "jpg"):
        Image.fromarray(alpha[..., :3]).save(folder / f"garbled exif.{suffix}", exif=b"garbagegarbage")
        Image.fromarray(alpha[..., :3]).save(folder / f"wrong artist.{suffix}", exif=WRONG_ARTIST)
    Image.fromarray(deep.astype(np.int32)).save(folder / "whole.tif")
    Image.fromarray(deep.astype(np.int32) * 100).save(folder / "too deep.tif")
    Image.fromarray(deep.astype(np.float32)).save(folder / "float.tif")
    write_ycbcr(folder)
    Image.fromarray(noise(2, 3)).save(folder / "six pixels.gif")
    Image.fromarray(noise(30, 20)).save(folder / "thousands.jp2")
    Image.fromarray(noise(30, 20)).save(folder / "photo.avif")
    Image.fromarray(noise(200, 200)).save(folder / "whole.jpeg")
    whole = (folder / "whole.jpeg").read_bytes()
    (folder / "cut.jpeg").write_bytes(whole[: len(whole) * 2 // 3])
    (folder / "=SUM.png").write_bytes((folder / "plain.png").read_bytes())
    (folder / ".hidden.png").write_bytes((folder / "plain.png").read_bytes())
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0" + bytes(60))
    (folder / "new.jxl").write_bytes(b"\xff\x0a" + bytes(60))
    (folder / "notes.txt").touch()
    return folder


def deep_color(path: Path) -> None:
    """A PNG with colors of 16 bits, which Pillow cannot write: the smallest that is valid."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + np.arange(12, dtype=">u2").tobytes() for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def artifact(folder: Path, kind: Kind = "float32", *, probabilities: bool = False, **changes: Any) -> Path:
    """A small artifact with its program."""
    if probabilities:
        changes["output"] = ModelOutput(
            name="logits", shape=("batch", len(CLASSES)), type="float32", values="probabilities"
        )
    make_artifact(folder, kind, model=make_model(kind, probabilities=probabilities), **changes)
    write_standalone(read_manifest(folder), folder)
    return folder


def run(program: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return int(program.main())


def test_the_program_is_short_and_needs_three_packages() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    imported: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    packages = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert packages == {"numpy", "PIL", "onnxruntime"}
    assert frozenset(standalone_predict.SUFFIXES.split()) == IMAGE_SUFFIXES


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("float32", {}),
        ("uint8", {"temperature": TemperatureRecord(value=1.7310000000000003, fitted_on="9 images")}),
        ("uint8", {"probabilities": True}),
        ("float32", {"decoding": DECODINGS[1].to_json()}),
        ("image", {}),
        ("float32", {"preprocessing": replace(PREPROCESSING, resize="squash", interpolation="lanczos").to_json()}),
    ],
)
def test_the_rows_are_those_of_noah_predict(
    kind: Kind,
    changes: dict[str, Any],
    suffix: str,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = artifact(tmp_path / "artifact", kind, **changes)
    program = _load(folder / "predict.py")
    options = (images, "--top", 3, "--batch-size", 7, "--out")
    assert noah("predict", folder, *options, tmp_path / f"noah.{suffix}").code == 0
    assert run(program, monkeypatch, *options, tmp_path / f"alone.{suffix}") == 0
    assert (tmp_path / f"alone.{suffix}").read_bytes() == (tmp_path / f"noah.{suffix}").read_bytes()
    told = capsys.readouterr().err
    assert f"{images / 'broken' / 'text.jpg'}: it is in no format" in told


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_what_the_model_sees_is_the_same_or_nothing(
    decoding: Decoding, resize: Literal["squash", "crop"], images: Path, tmp_path: Path
) -> None:
    preprocessing = replace(PREPROCESSING, resize=resize)
    folder = artifact(tmp_path / "a", preprocessing=preprocessing.to_json(), decoding=decoding.to_json())
    program = _load(folder / "predict.py")
    deep_color(tmp_path / "deep color.png")
    paths = [Path(path) for path in program.find_images([str(images), str(tmp_path / "deep color.png")])]
    (batch,) = read_ahead(paths, preprocessing.pixels, decoding, batch_size=99, workers=1, depth=1)
    expected = dict(zip(batch.paths, batch.pixels, strict=True))
    assert {path.stem for path in expected} >= {"garbled exif", "wrong artist"}
    refused = []
    for path in paths:
        pixels, error = program.read_pixels(str(path))
        if error:
            refused.append(path.name)
        else:
            np.testing.assert_array_equal(pixels, expected[path], str(path))
    missing = {path.name for path in expected} & set(refused)
    assert missing == ({"deep color.png"} if decoding.bit_depth != 16 else set())
    assert ("cut.jpeg" in refused) == (not decoding.repair)


@given(width=st.integers(1, 40), height=st.integers(1, 40), size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
def test_crops_are_those_of_the_preprocessing(width: int, height: int, size: tuple[int, int]) -> None:
    image = Image.fromarray(np.arange(width * height * 3, dtype=np.uint32).astype(np.uint8).reshape(height, width, 3))
    preprocessing = Preprocessing(*size, "crop", 0.875, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    values = {
        "HEIGHT, WIDTH": size,
        "RESIZE, CROP_FRACTION, INTERPOLATION": ("crop", 0.875, "bicubic"),
    }
    program: dict[str, Any] = {"__name__": "predict"}
    exec(program_text(TEMPLATE.read_text(encoding="utf-8"), values), program)
    np.testing.assert_array_equal(program["to_pixels"](image), preprocessing.pixels(image))


def test_an_image_too_long_and_thin_for_a_crop_is_refused_even_if_the_model_resizes() -> None:
    for kind in ("normalized", "image"):
        values = {
            "RESIZE, CROP_FRACTION, INTERPOLATION": ("crop", 0.875, "bicubic"),
            "INPUT, PRECISION": (kind, "fp32"),
        }
        program: dict[str, Any] = {"__name__": "predict"}
        exec(program_text(TEMPLATE.read_text(encoding="utf-8"), values), program)
        with pytest.raises(ValueError, match="too long and thin"):
            program["to_pixels"](Image.new("RGB", (90_000, 1)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.csv", "file,label\na.png,x\nb/c.png,y\n,\n"),
        ("list.csv", "\ufeffid;Path\n1;a.png\n2;b/c.png\n"),
        ("list.tsv", "path\tlabel\na.png\tx, y\nb/c.png\tz\n"),
        ("list.jsonl", '{"image": "a.png", "label": 1}\n\n{"image": "b/c.png", "label": 2}\n'),
        ("list.csv", "path,label\na.png ,x\n , \nb/c.png,y\n"),
        ("list.csv", "Path,PATH\na.png,x.png\nb/c.png,y.png\n"),
    ],
)
def test_tables_name_images(name: str, content: str, tmp_path: Path) -> None:
    from export.predict.image_paths import find_images

    (tmp_path / name).write_text(content, encoding="utf-8")
    found = standalone_predict.find_images([str(tmp_path / name), str(tmp_path / "a.png")])
    assert found == [str(tmp_path / "a.png"), str(tmp_path / "b" / "c.png")]
    assert found == [str(path) for path in find_images([str(tmp_path / name)])]


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl"])
def test_paths_of_a_table_that_stand_behind_an_apostrophe(name: str, tmp_path: Path) -> None:
    from export.predict.image_paths import find_images

    written = ["'=a.png", "''+b.png", "'-c/d.png", "'\uff20e.png", "'quoted'.png", "' =f.png", "@g.png"]
    rows = [f'{{"path": "{path}"}}' for path in written] if name == "list.jsonl" else ["path", *written]
    (tmp_path / name).write_text("\n".join(rows), encoding="utf-8")
    meant = written
    if name != "list.jsonl":
        meant = ["=a.png", "'+b.png", "-c/d.png", "\uff20e.png", "'quoted'.png", "' =f.png", "@g.png"]
    found = standalone_predict.find_images([str(tmp_path / name)])
    assert found == [str(tmp_path / path) for path in meant]
    assert found == [str(path) for path in find_images([str(tmp_path / name)])]


def test_the_program_reads_the_paths_that_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = _load(artifact(tmp_path / "artifact") / "predict.py")
    monkeypatch.chdir(tmp_path)
    for name in ("=SUM(A1).png", "'-b.png", "@c.png"):
        Image.fromarray(noise(9, 9)).save(tmp_path / name)
    names = sorted(path.name for path in tmp_path.glob("*.png"))
    assert run(program, monkeypatch, *names, "--out", "first.csv") == 0
    assert run(program, monkeypatch, "first.csv", "--out", "second.csv") == 0
    assert capsys.readouterr().err == ""
    assert Path("first.csv").read_bytes() == Path("second.csv").read_bytes()
    assert Path("first.csv").read_text(encoding="utf-8").count("\n'") == 3


def test_an_empty_name_is_no_folder_and_a_folder_is_no_table(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from export.predict.image_paths import find_images

    folder = tmp_path / "photos.csv"
    folder.mkdir()
    (folder / "a.png").write_bytes((images / "plain.png").read_bytes())
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit, match="One of the names is empty"):
        standalone_predict.find_images([str(folder), ""])
    assert standalone_predict.find_images([str(folder)]) == [str(path) for path in find_images([str(folder)])]


def test_the_suffix_of_json_lines_may_have_capitals(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = artifact(tmp_path / "artifact")
    options = (images / "plain.png", "--top", 2, "--batch-size", 0, "--out")
    assert run(_load(folder / "predict.py"), monkeypatch, *options, tmp_path / "alone.JSONL") == 0
    assert noah("predict", folder, images / "plain.png", "--top", 2, "--out", tmp_path / "noah.JSONL").code == 0
    assert (tmp_path / "alone.JSONL").read_bytes() == (tmp_path / "noah.JSONL").read_bytes()


def test_a_table_without_paths_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("picture,label\na.png,x\n")
    with pytest.raises(SystemExit, match=r"list\.csv: not every row has a path .* --column NAME"):
        standalone_predict.find_images([str(tmp_path / "list.csv")])
    assert standalone_predict.find_images([str(tmp_path / "list.csv")], "picture") == [str(tmp_path / "a.png")]


_PATHS_ARE_READ = [
    ("list.csv", "   \npath;label\na.png;x\n", ""),
    ("list.csv", "path,label,,\na.png,x,,\n", ""),
    ("list.csv", "path,,label,,x\na.png,,x,,y\n", ""),
    ("list.csv", "path,label\na.png,x,\n", ""),
    ("list.csv", "path,label,\na.png,x\n", ""),
    ("list.csv", '"path"\n"a\rb.png"\n', ""),
    ("list.tsv", "\tpath\n0\ta.png\n", ""),
    ("list.jsonl", '{"path": 0}\n', ""),
    ("list.jsonl", '{"path": "a.png", "label": null}\n', ""),
    ("list.jsonl", '{"file": "a.png"}\n{"file": "b.png"}\n', ""),
]
_REFUSED = [
    ("list.csv", "path,label\na,b.png,cat\n", ""),
    ("list.csv", "path,label\na.png\n", ""),
    ("list.csv", "path,path\na.png,b.png\n", ""),
    ("list.csv", " \t \npath\na,b.png\n", ""),
    ("list.csv", "Picture\na.png\n", "picture"),
    ("list.jsonl", '{"path": 4.0}\n', ""),  # which noah reads as 4
    ("list.jsonl", '{"path": 4.5}\n', ""),
    ("list.jsonl", '{"path": ["a.png"]}\n', ""),
    ("list.jsonl", '{"path": "a.png"}\n{"path": ""}\n', ""),
    ("list.jsonl", '{"file": "a.png"}\n{"path": "b.png"}\n', ""),
    ("list.jsonl", '{"file": "a.png"}\n{"file": "b.png", "path": "c.png"}\n', ""),
    ("list.jsonl", '{"": "a.png"}\n', ""),
]


@pytest.mark.parametrize(("name", "content", "column"), _PATHS_ARE_READ)
def test_a_table_is_read_as_noah_reads_it(name: str, content: str, column: str, tmp_path: Path) -> None:
    from export.predict.image_paths import find_images

    table = tmp_path / name
    table.write_text(content, encoding="utf-8", newline="")
    expected = [str(path) for path in find_images([str(table)], ColumnSettings(path=column or None))]
    assert standalone_predict.find_images([str(table)], column) == expected


@pytest.mark.parametrize(("name", "content", "column"), _REFUSED)
def test_a_table_that_noah_might_read_otherwise_is_refused(
    name: str, content: str, column: str, tmp_path: Path
) -> None:
    table = tmp_path / name
    table.write_text(content, encoding="utf-8", newline="")
    with pytest.raises(SystemExit, match="not every row has a path and a cell for each column"):
        standalone_predict.find_images([str(table)], column)


@pytest.mark.parametrize("name", ["photos", "list.csv", "empty.csv", "list.jsonl"])
def test_what_holds_no_image_is_named(name: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "notes.txt").touch()
    (tmp_path / "list.csv").write_text("path,label\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "list.jsonl").write_text("\n")
    program = _load(artifact(tmp_path / "artifact") / "predict.py")
    out = tmp_path / "out.csv"
    with pytest.raises(SystemExit, match=f"{tmp_path / name} holds no images"):
        run(program, monkeypatch, images / "plain.png", tmp_path / name, "--out", out)
    assert not out.exists()


def test_a_folder_that_cannot_be_listed_is_named(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir, locked = os.scandir, tmp_path / "photos" / "locked"
    locked.mkdir(parents=True)
    (tmp_path / "photos" / "a.png").touch()

    def refuse(folder: str) -> Any:
        if Path(folder) == locked:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SystemExit, match=f"Permission denied: '{locked}'"):
        standalone_predict.find_images([str(tmp_path / "photos")])


@pytest.mark.parametrize("out", ["rows.parquet", "rows", ".csv", "nowhere/rows.csv"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_is_read(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as refusal:
        run(standalone_predict, monkeypatch, "a.png", "--out", out)
    assert refusal.value.code == 2
    assert f"--out {out}: name a file that ends in .csv or .jsonl, in a folder that exists" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["missing.csv", "missing.TSV", "missing.jsonl", "missing.png"])
def test_a_table_that_is_missing_is_told_as_an_image_is(
    name: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = _load(artifact(tmp_path / "artifact") / "predict.py")
    assert run(program, monkeypatch, tmp_path / name, images / "plain.png") == 0
    told = capfd.readouterr()
    assert f"{tmp_path / name}: [Errno 2] No such file" in told.err and "plain.png" in told.out
    assert run(program, monkeypatch, tmp_path / name) == 1


def test_folders_are_searched_once_even_if_links_loop(images: Path, tmp_path: Path) -> None:
    from export.predict.image_paths import find_images

    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(images)
    arguments = [str(tmp_path), str(images / "plain.png")]
    assert standalone_predict.find_images(arguments) == [str(path) for path in find_images(arguments)]


@pytest.mark.parametrize(
    "label", ['"', "'''", '"""', "a\nb", "\\n", "{0}", "a  # b", "\u2028", "鳥", "import os", "-1", "\\g<0>"]
)
def test_labels_are_never_code(label: str, tmp_path: Path) -> None:
    classes = (label, *CLASSES[1:])
    (tmp_path / "model.onnx").touch()
    manifest = make_manifest(tmp_path / "model.onnx", classes=classes)
    write_standalone(manifest, tmp_path)
    program = _load(tmp_path / "predict.py")
    assert classes == program.CLASSES
    assert len((tmp_path / "predict.py").read_text(encoding="utf-8").split("\n")) == 201


def test_a_template_without_a_constant_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="not one line of the template sets ALPHA"):
        program_text("OTHER = 1\n", {"ALPHA": ("white",)})


def test_requirements_are_three(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    manifest = make_manifest(tmp_path / "model.onnx")
    names = [line.partition("==")[0] for line in requirements(manifest).splitlines() if line[0] != "#"]
    assert names == ["numpy", "pillow", "onnxruntime"]
    assert "onnxruntime-gpu==" in requirements(manifest.model_copy(update={"precision": "bf16"}))


Damage = Callable[[str], str]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"logits", 1.0', '"logits", 1.01').replace("'logits', 1.0", "'logits', 1.01"),
        lambda text: text.replace("'crop', 0.9, 'bicubic'", "'crop', 0.9, 'bilinear'"),
        lambda text: text.replace("(0.5, 0.4, 0.3)", "(0.5, 0.4, 0.31)"),
        lambda text: text.replace("'café', 'a, b'", "'a, b', 'café'"),
        lambda text: text.replace('kind="stable"', 'kind="stable")[::-1].astype(int'),
    ],
)
def test_a_program_that_predicts_otherwise_is_refused(damage: Damage, images: Path, tmp_path: Path) -> None:
    folder = artifact(tmp_path / "artifact")
    manifest = read_manifest(folder)
    split = FileSplit((images / "plain.png", images / "phone.heic", images / "cmyk.jpg"), np.zeros(3, np.int64))
    whole = FileSplit(split.paths[::2], np.zeros(2, np.int64))
    parity = prove_standalone(folder, manifest, whole, Silent())
    assert (parity.batches[0].batch, parity.tolerance.max_difference, parity.method) == (2, 0, "run")
    program = folder / "predict.py"
    text = program.read_text(encoding="utf-8")
    assert damage(text) != text
    program.write_text(damage(text), encoding="utf-8")
    with pytest.raises(ParityError, match=r"predict\.py does not predict .* as noah does"):
        prove_standalone(folder, manifest, whole, Silent())


def test_images_that_the_program_refuses_are_compared_as_noah_decodes_them(tmp_path: Path) -> None:
    folder = artifact(tmp_path / "artifact", decoding=Decoding(bit_depth=12).to_json())
    deep_color(tmp_path / "deep color.png")
    split = FileSplit((tmp_path / "deep color.png",), np.zeros(1, np.int64))
    assert prove_standalone(folder, read_manifest(folder), split, Silent()).batches[0].batch == 1


def test_an_export_holds_the_program_and_its_proof(finished: Finished) -> None:
    for name in (FLOAT, UINT8):
        manifest = read_manifest(finished.artifact(name))
        assert {"predict.py", "requirements.txt", "model.onnx"} == set(manifest.files)
        proof = manifest.parity[-1]
        assert proof.runs_on == "onnxruntime CPUExecutionProvider, by predict.py"
        assert proof.reference == "noah predict with the same model"
        assert proof.batches[0].max_difference == 0
        program = (finished.artifact(name) / "predict.py").read_text(encoding="utf-8")
        assert f"INPUT, PRECISION = '{manifest.input.values}', 'fp32'" in program
    assert "predict.py: 18 images as noah predict, to the bit" in finished.outcomes["export"].words
    assert not list(finished.artifact().rglob("__pycache__"))


def test_verify_finds_a_changed_program(project: Finished) -> None:
    program = project.artifact() / "predict.py"
    program.write_text(program.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    outcome = noah("verify", "--quick")
    assert outcome.code == 1
    assert "predict.py was changed" in outcome.words


def test_an_artifact_of_an_earlier_version_has_no_program(project: Finished) -> None:
    folder = project.artifact()
    manifest = read_manifest(folder)
    for name in ("predict.py", "requirements.txt"):
        (folder / name).unlink()
    earlier = manifest.model_copy(
        update={"files": {"model.onnx": file_record(folder / "model.onnx")}, "parity": manifest.parity[:-1]}
    )
    write_manifest(earlier, folder)
    check_files(read_manifest(folder), folder)
    assert load_predictor(folder).classes == manifest.classes


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_empty_environment_with_its_requirements_predicts_the_same(
    finished: Finished, photo_folder: Path, tmp_path: Path
) -> None:
    """What `pip install -r requirements.txt` brings is small, and enough."""
    import subprocess

    folder = finished.artifact()
    venv.create(tmp_path / "empty", with_pip=True)
    python = next((tmp_path / "empty").glob("[bS]*/python*"))
    quiet = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]
    subprocess.run([*quiet, folder / "requirements.txt"], check=True)
    # Older onnxruntime brings sympy and, with it, mpmath, which only its quantization imports.
    unused, files = {"sympy", "mpmath"}, (tmp_path / "empty").rglob("*")
    size = sum(path.lstat().st_size for path in files if path.is_file() and not unused & set(path.parts))
    assert size <= 250_000_000, f"{size:,}"
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    rows = subprocess.run(
        [python, folder / "predict.py", photo_folder / "test"], check=True, capture_output=True, env=clean, cwd=tmp_path
    )
    assert rows.stdout == (finished.folder / "predictions.csv").read_bytes()
    code = (
        f"import sys; sys.path.insert(0, {str(folder)!r}); sys.dont_write_bytecode = True; import predict\n"
        f"found = list(predict.Predictor().predict(predict.find_images([{str(photo_folder / 'test')!r}]), 2))\n"
        "print(len(found), sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'noah', 'export'}))"
    )
    imported = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True, env=clean, cwd=tmp_path)
    assert imported.stdout == "18 []\n"
