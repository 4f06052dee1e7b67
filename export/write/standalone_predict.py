"""Predicts the classes of images as `noah predict` does, with the model beside this file and without noah.

pip install -r requirements.txt; python predict.py photos/ scan.png list.csv --out predictions.csv
In Python: from predict import Predictor; for path, top, error in Predictor().predict(["cat.jpg"]): ...
"""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps, UnidentifiedImageError

# What is particular to this artifact:
CLASSES = ("circle", "square")  # in the order of the model's outputs
HEIGHT, WIDTH = 32, 32  # of the model's input, in pixels
RESIZE, CROP_FRACTION, INTERPOLATION = "squash", 1.0, "bicubic"  # "crop" keeps the aspect ratio, takes the center
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # of red, green and blue, with 255 as 1
INPUT, PRECISION = "normalized", "fp32"  # float32 (N, 3, H, W); "raw" is uint8 (N, H, W, 3), "image" of any size
OUTPUT, TEMPERATURE = "logits", 1.0  # logits divided by the temperature become probabilities
ALPHA = "ignore"  # transparent pixels show the color stored under them; or they are laid on "white" or "black"
BIT_DEPTH, REPAIR = 16, False  # of values in 16-bit files; whether a JPEG without its end is decoded as far as it goes
PROVIDER = "CPUExecutionProvider"  # what runs the model, unless --provider names another
# What is the same in every artifact:
FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
SUFFIXES = ".avif .bmp .gif .heic .heif .hif .jfif .jp2 .jpe .jpeg .jpg .jxl .pbm .pgm .png .pnm .ppm .tif .tiff .webp"
MOST_PIXELS = 89_478_485
PATH_COLUMNS = ("path", "file_name", "filename", "filepath", "file", "image_path", "image")
FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # a spreadsheet runs these, so CSV has an apostrophe before


def find_images(names: list[str], column: str = "") -> list[str]:
    """List the images that files, folders and tables (.csv, .tsv, .jsonl) stand for, each once."""
    found: dict[str, str] = {}
    for name in map(Path, filter(None, names)):
        is_table = name.suffix.lower() in (".csv", ".tsv", ".jsonl") and name.is_file()  # else told as an image is
        for path in _below(name) if name.is_dir() else _in_table(name, column) if is_table else [name]:
            found.setdefault(os.path.abspath(path), str(path))  # noqa: PTH100 -- a link is not its target
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    images, walked = list[Path](), set[str]()
    for parent, folders, files in os.walk(folder, followlinks=True):
        again = os.path.realpath(parent) in walked  # links may loop
        walked.add(os.path.realpath(parent))
        folders[:] = [] if again else sorted(name for name in folders if name[0] != ".")
        images += [Path(parent, name) for name in files if name[0] != "." and not again]
    return sorted((path for path in images if path.suffix.lower() in SUFFIXES.split()), key=str)


def _in_table(table: Path, column: str) -> list[Path]:
    text, kind = table.read_text("utf-8-sig").lstrip("\r\n"), table.suffix.lower()
    separator = "\t" if kind == ".tsv" else next((sign for sign in ",;\t" if sign in text.split("\n")[0]), ",")
    rows: Any = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = map(json.loads, filter(str.strip, text.split("\n"))) if kind == ".jsonl" else rows
    rows = [{str(key).strip().lower(): str(cell or "").strip() for key, cell in reversed(row.items())} for row in rows]
    rows = [row for row in rows if any(row.values())]
    used = next((name for name in ([column.lower()] if column else PATH_COLUMNS) if rows and name in rows[0]), "")
    if not all(row.get(used) for row in rows):
        raise SystemExit(f"{table}: some rows have no path; --column NAME says which column has them.")
    paths = [(row[used], row[used].removeprefix("" if kind == ".jsonl" else "'")) for row in rows]
    return [table.parent / (bare if bare.lstrip("'").startswith(FORMULAS) else path) for path, bare in paths]


def read_pixels(path: str) -> tuple[np.ndarray | None, str]:
    """Give what the model sees of an image file, uint8 (H, W, 3) as in training, or why it sees nothing."""
    try:
        return to_pixels(_decode(Path(path).read_bytes())), ""
    except UnidentifiedImageError:
        return None, "it is in no format that Pillow alone knows; noah predict reads HEIC and JPEG XL, too"
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files
        return None, " ".join(str(error).split()) or type(error).__name__


def _decode(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"it has more than {MOST_PIXELS:,} pixels; noah predict reads some of such files")
        codec, *_, args = image.tile[0] if len(image.tile) == 1 else ("", "")
        raw = str(args[0] if isinstance(args, tuple) and args else args)
        scaled = image.format in ("JPEG2000", "AVIF") or (image.format == "PPM" and codec != "raw")  # to their range
        if BIT_DEPTH != 16 and not scaled and raw.startswith(("RGB;16", "RGBA;16", "RGBX;16", "LA;16B")):
            raise ValueError("it has colors of 16 bits, which noah predict reads")
        try:
            upright = ImageOps.exif_transpose(image)
        except (OSError, SyntaxError):
            if not REPAIR or image.format not in ("JPEG", "MPO") or content.endswith(b"\xff\xd9"):
                raise
            upright = _decode(content + b"\xff\xd9")  # with an end, for which the decoder fills in what is missing
            if not np.ptp(np.asarray(upright), axis=(0, 1)).any():  # nothing of the picture is there
                raise
    if upright.mode[0] in "IF":  # gray of 16 bits, which Pillow would clip
        values, white = np.asarray(upright), 2 ** (16 if scaled else BIT_DEPTH) - 1
        if upright.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels are 32-bit numbers whose range is not known")
        values = (np.minimum(values.astype(np.uint32), white) * 255 + white // 2) // white
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if ALPHA != "ignore" and upright.has_transparency_data:
        over, upright = upright.convert("RGBA"), Image.new("RGB", upright.size, ALPHA)
        upright.paste(over, mask=over)
    through = "RGBA" if upright.mode == "P" and "transparency" in upright.info else upright.mode
    return upright.convert(through).convert("RGB")


def to_pixels(image: Image.Image) -> np.ndarray:
    """Resize an RGB image to uint8 (H, W, 3); a model that resizes itself gets it as it is."""
    across, down, width, height = int(WIDTH / CROP_FRACTION), int(HEIGHT / CROP_FRACTION), WIDTH, HEIGHT
    if RESIZE == "crop" and across == down:  # the shorter side is exact, the longer one is cut down
        width, height = (int(across * side / min(image.size)) for side in image.size)
    elif RESIZE == "crop":
        width, height = (round(side / min(image.width / across, image.height / down)) for side in image.size)
    if width * height > MOST_PIXELS:
        raise ValueError("it is too long and thin to be resized for a crop")
    if INPUT == "image":
        return np.asarray(image)
    left, top = round((width - WIDTH) / 2), round((height - HEIGHT) / 2)
    resized = image.resize((width, height), Image.Resampling[INTERPOLATION.upper()])
    return np.array(resized.crop((left, top, left + WIDTH, top + HEIGHT)))


class Predictor:
    """The open model. onnxruntime chooses the number of threads if it is 0."""

    def __init__(self, model: str | Path = "", provider: str = PROVIDER, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        file, exact = model or Path(__file__).with_name("model.onnx"), {"use_tf32": "0"} if "CUDA" in provider else {}
        self.session = onnxruntime.InferenceSession(str(file), options, [(provider, exact)])
        if self.session.get_providers()[0] != provider:
            raise SystemExit(f"{provider} does not run here.")

    def probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Run the model on uint8 (N, H, W, 3), and give float32 (N, classes)."""
        if INPUT == "normalized":
            mean, std = (np.asarray(values, np.float32)[:, None, None] for values in (MEAN, STD))
            pixels = (pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C") / np.float32(255) - mean) / std
        outputs = self.session.run(None, {self.session.get_inputs()[0].name: pixels})[0].astype(np.float32)
        logits = outputs / np.float32(TEMPERATURE)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(outputs if OUTPUT == "probabilities" else powers / powers.sum(axis=1, keepdims=True))

    def predict(self, paths: list[str], top: int = 1, batch: int = 32, workers: int = 2) -> Iterator[Any]:
        """Give each image's path, likeliest (class, probability) pairs and error; the pairs or the error are empty."""
        with ThreadPoolExecutor(workers) as pool:
            following = pool.map(read_pixels, paths[:batch])
            for start in range(0, len(paths), batch):
                read, following = list(following), pool.map(read_pixels, paths[start + batch : start + 2 * batch])
                sizes = groupby((pixels for pixels, _ in read if pixels is not None), np.shape)
                rows = (row for _, alike in sizes for row in self.probabilities(np.stack(list(alike))))
                for name, (pixels, error) in zip(paths[start : start + batch], read, strict=True):
                    row = np.zeros(0) if pixels is None else next(rows)
                    order = np.argsort(-row, kind="stable")[: top if np.isfinite(row).all() else 0]
                    best = [(CLASSES[index], float(row[index])) for index in order]
                    yield name, best, "" if best else error or "the model's output is not finite"


def main() -> int:
    """Run the command line; the exit code is 1 if no image could be predicted."""
    parser = argparse.ArgumentParser(description="Predict the classes of images.")
    parser.add_argument("images", nargs="+", help="files, folders, and tables with a column of paths")
    parser.add_argument("--out", default="", help=".csv or .jsonl; if not given, CSV on standard output")
    parser.add_argument("--column", default="", help="the column of paths in tables")
    parser.add_argument("--top", type=int, default=1, help="labels per image")
    parser.add_argument("--batch-size", type=int, default=32, help="images per batch")
    parser.add_argument("--provider", default=PROVIDER, help="of onnxruntime, such as CUDAExecutionProvider")
    asked = parser.parse_args()
    predictor, images = Predictor("", asked.provider), find_images(asked.images, asked.column)
    written, as_json, top = 0, asked.out.lower().endswith(".jsonl"), max(1, min(asked.top, len(CLASSES)))
    with open(asked.out or 1, "w", encoding="utf-8", newline="", closefd=bool(asked.out)) as file:
        ranks = "".join(f",label_{rank},probability_{rank}" for rank in range(2, top + 1))
        file.write("" if as_json else f"path,label,probability{ranks}\n")
        for found, best, error in predictor.predict(images, top, max(1, asked.batch_size)):
            path = found.encode("utf-8", sys.getfilesystemencodeerrors()).decode("utf-8", "backslashreplace")
            pairs = [{"label": label, "probability": float(f"{share:.6g}")} for label, share in best]
            cells = [path, *(cell for label, share in best for cell in (label, f"{share:.6g}"))]
            cells = [f"'{cell}" if cell.lstrip("'").startswith(FORMULAS) else cell for cell in cells]
            written += not error
            if error:
                print(f"{path}: {error}", file=sys.stderr)
            elif as_json:
                row = {"path": path, **pairs[0], **({"top": pairs} if top > 1 else {})}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            else:
                how: Any = csv.QUOTE_ALL if any("\r" in cell for cell in cells) else csv.QUOTE_MINIMAL
                csv.writer(file, lineterminator="\n", quoting=how).writerow(cells)
    return int(not written)


if __name__ == "__main__":
    sys.exit(main())
