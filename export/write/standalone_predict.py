"""Predicts the classes of images as `noah predict` does, with the model beside this file and without noah.

pip install -r requirements.txt; python predict.py photos/ scan.png list.csv --out predictions.csv
"""

import argparse
import csv
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, UnidentifiedImageError

CLASSES = ("circle", "square")  # in the order of the model's outputs
HEIGHT, WIDTH = 32, 32  # of the model's input, in pixels
RESIZE, CROP_FRACTION, INTERPOLATION = "squash", 1.0, "bicubic"  # "crop" keeps the aspect ratio, takes the center
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)  # of red, green and blue, with 255 as 1
INPUT, PRECISION = "normalized", "fp32"  # float32 (N, 3, H, W); "raw" is uint8 (N, H, W, 3), "image" of any size
OUTPUT, TEMPERATURE = "logits", 1.0  # logits divided by the temperature become probabilities
ALPHA = "ignore"  # transparent pixels show the color stored under them; or they are laid on "white" or "black"
BIT_DEPTH, REPAIR = 16, False  # of values in 16-bit files; whether a JPEG without its end is decoded as far as it goes
PROVIDER = "CPUExecutionProvider"  # what runs the model, unless --provider names another
FORMATS = ("JPEG", "JPEG2000", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # from here on always the same
SUFFIXES = ".avif .bmp .gif .heic .heif .hif .jfif .jp2 .jpe .jpeg .jpg .jxl .pbm .pgm .png .pnm .ppm .tif .tiff .webp"
MOST_PIXELS, PATH_COLUMNS = 89_478_485, ("path", "file_name", "filename", "filepath", "file", "image_path", "image")
FORMULAS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # a spreadsheet runs these, so CSV has an apostrophe before


def find_images(names: list[str], column: str = "") -> list[str]:
    """List the images that files, folders and tables (.csv, .tsv, .jsonl) stand for, each once."""
    found: dict[str, str] = {}
    for name in (Path(name or sys.exit("One of the names is empty; name files, folders or tables.")) for name in names):
        is_table = name.suffix.lower() in (".csv", ".tsv", ".jsonl") and name.is_file()  # else told as an image is
        images = _below(name) if name.is_dir() else _in_table(name, column) if is_table else [name]
        for path in images or sys.exit(f"{name} holds no images; name files, or a folder or table that has some."):
            found.setdefault(os.path.abspath(path), str(path))  # noqa: PTH100 -- a link is not its target
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    found: dict[str, list[Path]] = {}
    for parent, folders, files in os.walk(folder, onerror=lambda error: sys.exit(f"{error}"), followlinks=True):
        real = os.path.realpath(parent)
        folders[:] = [] if real in found else sorted(name for name in folders if name[0] != ".")  # links may loop
        found.setdefault(real, [Path(parent, name) for name in files if name[0] != "."])
    return sorted((path for path in chain(*found.values()) if path.suffix.lower() in SUFFIXES.split()), key=str)


def _in_table(table: Path, column: str) -> list[Path]:
    text, kind = table.read_bytes().decode("utf-8-sig"), table.suffix.lower()
    first, marked = next(filter(str.strip, text.splitlines()), ""), () if kind == ".jsonl" else FORMULAS
    separator = "\t" if kind == ".tsv" else next((sign for sign in ",;\t" if sign in first), ",")
    lines = csv.reader(io.StringIO("" if kind == ".jsonl" else text, newline=""), delimiter=separator, strict=True)
    names, *rest = [row for row in ([cell.strip() for cell in line] for line in lines) if any(row)] or [[]]
    end = len("\0".join(names).rstrip("\0").split("\0"))  # spreadsheets write empty columns behind the last one
    fit = len({*names} - {""}) == sum(map(bool, names)) and all(len(row) >= end and not any(row[end:]) for row in rest)
    rows: Any = [dict(zip(names, row, strict=False)) if fit else {} for row in rest]
    rows = [json.loads(line) for line in text.split("\n") if line.strip()] if kind == ".jsonl" else rows
    used = column or next((key for name in PATH_COLUMNS for row in rows for key in row if key.lower() == name), None)
    wrong = f"{table}: not every row has a path and a cell for each column; --column NAME names the paths."
    cells = [(isinstance(cell := row.get(used), str | int) and str(cell).strip()) or sys.exit(wrong) for row in rows]
    return [table.parent / (cell.removeprefix("'") if cell.lstrip("'").startswith(marked) else cell) for cell in cells]


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
            image.load()
        except (OSError, SyntaxError):
            cut = REPAIR and image.format in ("JPEG", "MPO") and not content.endswith(b"\xff\xd9")
            whole = _decode(content + b"\xff\xd9") if cut else image  # an end makes the decoder fill what is missing
            if not cut or not np.ptp(np.asarray(whole), axis=(0, 1)).any():  # nothing of the picture is there
                raise
            return whole
        try:
            turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}.get(image.getexif().get(0x0112, 1))
        except Exception:  # EXIF that cannot be read turns nothing
            turn = None
        shown = image.copy() if turn is None else image.transpose(Image.Transpose(turn))
    if shown.mode[0] in "IF":  # gray of 16 bits, which Pillow would clip
        values, white = np.asarray(shown), 2 ** (16 if scaled else BIT_DEPTH) - 1
        if shown.mode == "F" or values.min() < 0 or values.max() > 65535:
            raise ValueError("its pixels are 32-bit numbers whose range is not known")
        values = (np.minimum(values.astype(np.uint32), white) * 255 + white // 2) // white
        return Image.fromarray(values.astype(np.uint8)).convert("RGB")
    if ALPHA != "ignore" and shown.has_transparency_data:
        over, shown = shown.convert("RGBA"), Image.new("RGB", shown.size, ALPHA)
        shown.paste(over, mask=over)
    return shown.convert("RGBA" if shown.mode == "P" and "transparency" in shown.info else shown.mode).convert("RGB")


def to_pixels(image: Image.Image) -> np.ndarray:
    """Resize an RGB image to uint8 (H, W, 3); a model that resizes itself gets it as it is."""
    across, down, width, height = int(WIDTH / CROP_FRACTION), int(HEIGHT / CROP_FRACTION), WIDTH, HEIGHT
    if RESIZE == "crop":  # to a square: the shorter side is exact, the longer one is cut down
        by, short = min(image.width / across, image.height / down), min(image.size)
        width, height = (int(across * side / short) if across == down else round(side / by) for side in image.size)
    if width * height > MOST_PIXELS:
        raise ValueError("it is too long and thin to be resized for a crop")
    left, top = round((width - WIDTH) / 2), round((height - HEIGHT) / 2)
    shown = image if INPUT == "image" else image.resize((width, height), Image.Resampling[INTERPOLATION.upper()])
    return np.array(shown if INPUT == "image" else shown.crop((left, top, left + WIDTH, top + HEIGHT)))


class Predictor:
    """The open model: for path, top, error in Predictor().predict(["cat.jpg"]). onnxruntime chooses threads if 0."""

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

    def predict(self, paths: list[str], top: int = 1, batch: int = 32, workers: int = 2) -> Any:
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
    if asked.out and not (Path(asked.out).suffix.lower() in (".csv", ".jsonl") and Path(asked.out).parent.is_dir()):
        parser.error(f"--out {asked.out}: name a file that ends in .csv or .jsonl, in a folder that exists")
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
