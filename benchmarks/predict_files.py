"""Runs `noah predict` on many files, some of them broken: what is read, what is listed, and how much memory it takes.

    python benchmarks/predict_files.py runs/latest/export/onnx-fp32 [--files 10000] [--broken 50]

Writes that many image files into a temporary folder: JPEGs of photographic size, some of each unusual kind (CMYK,
16-bit, palette with transparency, rotated by EXIF, one pixel, 20,000 pixels wide), and some broken ones (truncated,
empty, text). Predicts a tenth of them and then all, each in a process of its own, and prints one line of JSON: the peak
memory of both, the files listed as broken, and how many predictions differ from those made one image at a time with
Pillow, the training's preprocessing and the model. Fails if a broken file is not listed, a readable one is listed, a
label differs, or memory grows by more than a tenth.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from export.formats.load import load_predictor
from noah.data.decode import open_image

_TIE = 1e-4
"""Probabilities that are closer than this may change places with the size of the batch."""


def write_files(folder: Path, count: int, broken: int) -> tuple[list[Path], list[Path]]:
    """Write the files, with unusual and broken ones spread among them; give the readable and the broken paths."""
    rng = np.random.default_rng(0)
    kinds = (_jpeg, _jpeg, _jpeg, _jpeg, _cmyk, _sixteen_bit, _palette, _turned, _one_pixel, _wide)
    wrecks = (_cut_short, _empty, _text)
    at = set(np.linspace(0, count - 1, broken).round().astype(int).tolist())
    plain = [rng.integers(0, 256, (12, 16, 3), dtype=np.uint8) for _ in range(64)]
    readable: list[Path] = []
    wrecked: list[Path] = []
    for number in range(count):
        name = folder / f"{number:06}"
        image = Image.fromarray(plain[number % 64]).resize((320, 240), Image.Resampling.BICUBIC)
        if number in at:
            wrecked.append(wrecks[len(wrecked) % len(wrecks)](image, name))
        else:
            readable.append(kinds[len(readable) % len(kinds) if len(readable) % 97 == 0 else 0](image, name))
    return readable, wrecked


def _jpeg(image: Image.Image, name: Path) -> Path:
    image.save(path := name.with_suffix(".jpg"), quality=85)
    return path


def _cmyk(image: Image.Image, name: Path) -> Path:
    image.convert("CMYK").save(path := name.with_suffix(".jpg"))
    return path


def _sixteen_bit(image: Image.Image, name: Path) -> Path:
    Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).save(path := name.with_suffix(".png"))
    return path


def _palette(image: Image.Image, name: Path) -> Path:
    image.quantize(16).save(path := name.with_suffix(".png"), transparency=0)
    return path


def _turned(image: Image.Image, name: Path) -> Path:
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path := name.with_suffix(".jpg"), exif=exif)
    return path


def _one_pixel(image: Image.Image, name: Path) -> Path:
    image.crop((0, 0, 1, 1)).save(path := name.with_suffix(".png"))
    return path


def _wide(image: Image.Image, name: Path) -> Path:
    image.resize((20_000, 64)).save(path := name.with_suffix(".jpg"))
    return path


def _cut_short(image: Image.Image, name: Path) -> Path:
    path = _jpeg(image, name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def _empty(_: Image.Image, name: Path) -> Path:
    (path := name.with_suffix(".jpg")).write_bytes(b"")
    return path


def _text(_: Image.Image, name: Path) -> Path:
    (path := name.with_suffix(".jpg")).write_text("this is no image\n")
    return path


def run_predict(artifact: Path, names: list[Path], folder: Path, out: Path) -> tuple[int, str]:
    """Run the command on files; give its peak memory in KiB and its standard error."""
    part = folder / f"part-{len(names)}"
    part.mkdir()
    for name in names:
        os.link(name, part / name.name)
    command = [sys.executable, "-m", "noah_cli", "predict", str(artifact), str(part), "--out", str(out)]
    process = subprocess.Popen([*command, "--provider", "cpu"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    told = process.stderr.read()
    _, _, usage = os.wait4(process.pid, 0)
    return usage.ru_maxrss, " ".join(told.split())


def count_different(artifact: Path, rows: dict[str, str], paths: list[Path]) -> int:
    """Count the labels that differ from those predicted one image at a time, not counting ties."""
    predictor = load_predictor(artifact, provider="cpu")
    different = 0
    for path in paths:
        with open_image(path) as image:
            pixels = predictor.preprocessing.pixels(image)
        alone = predictor.probabilities(pixels[None])[0]
        label = rows.get(path.name)
        best = predictor.classes[int(alone.argmax())]
        if label != best and (label is None or alone.max() - alone[predictor.classes.index(label)] > _TIE):
            different += 1
    return different


def main() -> None:
    """Write the files, predict them, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--broken", type=int, default=50)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="noah-") as name:
        folder = Path(name)
        (folder / "files").mkdir()
        readable, broken = write_files(folder / "files", arguments.files, arguments.broken)
        everything = sorted([*readable, *broken])
        out = folder / "predictions.csv"
        few, _ = run_predict(arguments.artifact, everything[: arguments.files // 10], folder, out)
        all_, told = run_predict(arguments.artifact, everything, folder, out)
        with out.open(encoding="utf-8", newline="") as file:
            rows = {Path(row["path"]).name: row["label"] for row in csv.DictReader(file)}
        result = {
            "files": len(everything),
            "written": len(rows),
            "broken": len(broken),
            "told": told[told.index("failed ") :][: len("failed 50 files could not be predicted")],
            "readable_missing": len({path.name for path in readable} - rows.keys()),
            "broken_predicted": len({path.name for path in broken} & rows.keys()),
            "different": count_different(arguments.artifact, rows, readable),
            "peak_mib_tenth": round(few / 1024, 1),
            "peak_mib_all": round(all_ / 1024, 1),
        }
    print(json.dumps(result))
    wrong = result["readable_missing"] or result["broken_predicted"] or result["different"] or all_ > 1.1 * few
    sys.exit(1 if wrong or f"failed {len(broken)} files" not in told else 0)


if __name__ == "__main__":
    main()
