"""The program `predict.py` and its requirements, which lie beside the model so that it runs without noah.

The program is the module `standalone_predict` with the constants at its head set to those of the artifact. Before the
artifact gets its name, the program predicts real images and has to give what `noah predict` gives, bit for bit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from export.artifact.manifest import MODEL_FILE, PROGRAM_FILE, REQUIREMENTS_FILE, Manifest
from export.artifact.records import Parity, ParityBatch, Tolerance
from export.convert.precision import write_simulation
from export.predict.image_batches import Item
from export.predict.predict import predict
from export.predict.prediction_table import Probabilities
from export.predict.predictor import Predictor
from export.runtime.onnx_session import CPU, CUDA, open_session
from noah.data.decoding import AS_STORED, Decoding
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import Split
from noah.errors import ParityError
from noah.hardware.cores import choose_threads
from noah.progress import Listener, counted

_TEMPLATE = Path(__file__).with_name("standalone_predict.py")
_BATCH = 32
_IMAGES = 40
"""Images of the check: a whole batch and a part of one."""
_EXACT = Tolerance(max_difference=0, mean_difference=0, other_first_class=0)


def write_standalone(manifest: Manifest, folder: Path) -> None:
    """Write the program and its requirements beside the model.

    Args:
        manifest: Describes the artifact; the files that it names do not matter.
        folder: The artifact's folder.
    """
    program = program_text(_TEMPLATE.read_text(encoding="utf-8"), constants(manifest))
    (folder / PROGRAM_FILE).write_text(program, encoding="utf-8", newline="\n")
    (folder / REQUIREMENTS_FILE).write_text(requirements(manifest), encoding="utf-8", newline="\n")


def constants(manifest: Manifest) -> dict[str, tuple[Any, ...]]:
    """The values of an artifact for the constants at the head of the program, by the names in front of the `=`."""
    preprocessing, decoding = _reading(manifest)
    return {
        "CLASSES": (manifest.classes,),
        "HEIGHT, WIDTH": (preprocessing.height, preprocessing.width),
        "RESIZE, CROP_FRACTION, INTERPOLATION": (
            preprocessing.resize,
            preprocessing.crop_fraction,
            preprocessing.interpolation,
        ),
        "MEAN, STD": (preprocessing.mean, preprocessing.std),
        "INPUT, PRECISION": (manifest.input.values, manifest.precision),
        "OUTPUT, TEMPERATURE": (manifest.output.values, manifest.softmax_temperature),
        "ALPHA": (decoding.alpha,),
        "BIT_DEPTH, REPAIR": (decoding.bit_depth, decoding.repair),
        "PROVIDER": (CUDA if manifest.precision == "bf16" else CPU,),
    }


def _reading(manifest: Manifest) -> tuple[Preprocessing, Decoding]:
    decoding = AS_STORED if manifest.decoding is None else Decoding.from_json(manifest.decoding)
    return Preprocessing.from_json(manifest.preprocessing), decoding


def program_text(template: str, values: Mapping[str, tuple[Any, ...]]) -> str:
    """Set the constants of the program.

    Args:
        template: The program; each constant stands on a line of its own, behind which a comment may follow.
        values: For the names in front of each `=`, the values behind it. They are written as Python literals, so that a
            label cannot become code, whatever characters are in it.

    Raises:
        ValueError: If there is not exactly one line for a name.
    """
    for names, found in values.items():
        line = re.compile(rf"^{names} = .*?(?=(?:  # .*)?$)", re.M)
        if len(line.findall(template)) != 1:
            raise ValueError(f"not one line of the template sets {names}")
        template = line.sub(f"{names} = {', '.join(map(repr, found))}".replace("\\", r"\\"), template)
    return template


def requirements(manifest: Manifest) -> str:
    """The packages that the program needs, in the versions that it was checked with."""
    runtime = "onnxruntime-gpu" if manifest.precision == "bf16" else "onnxruntime"
    versions = {"numpy": version("numpy"), "pillow": version("pillow"), runtime: _runtime_version()}
    lines = [f"{name}=={found.partition('+')[0]}" for name, found in versions.items()]
    return "\n".join(
        [
            "# What predict.py was checked with. Other versions run it, too, but may differ in the last digits.",
            *lines,
            "",
        ]
    )


def _runtime_version() -> str:
    """The version of onnxruntime, under whichever name it is installed."""
    try:
        return version("onnxruntime-gpu")
    except PackageNotFoundError:
        return version("onnxruntime")


def prove_standalone(
    folder: Path, manifest: Manifest, validation: Split, listener: Listener, threads: int | None = None
) -> Parity:
    """Let the program in an artifact's folder predict real images, and compare it with noah, bit for bit.

    Image files are read as they are. Images that lie in archives or tables, and files that the program refuses, are
    written as PNG for both. A bf16 file, which runs on no CPU, is compared in its simulation in float32.

    Args:
        folder: The artifact's folder.
        manifest: Describes the artifact.
        validation: The images.
        listener: Told of the result.
        threads: CPU threads of the model; None for a choice.

    Raises:
        ParityError: If anything differs; names the first image.
    """
    program, simulated = _load(folder / PROGRAM_FILE), manifest.precision == "bf16"
    chosen = np.unique(np.linspace(0, len(validation) - 1, min(_IMAGES, len(validation))).round().astype(int)).tolist()
    with tempfile.TemporaryDirectory(prefix="noah-") as temporary:
        paths = [_as_file(validation, index, program, Path(temporary)) for index in chosen]
        model = folder / MODEL_FILE
        if simulated:
            model = Path(temporary) / MODEL_FILE
            write_simulation(folder / MODEL_FILE, model, "bf16")
        _compare(program, model, manifest, paths, threads or choose_threads().count)
    listener.say(f"checking  {PROGRAM_FILE}: {counted(len(paths), 'images')} as noah predict, to the bit")
    sizes = [len(paths[start : start + _BATCH]) for start in range(0, len(paths), _BATCH)]
    return Parity(
        method="simulated" if simulated else "run",
        runs_on=f"onnxruntime {CPU}, by {PROGRAM_FILE}",
        reference="noah predict with the same model",
        images=f"{len(paths)} validation images of {manifest.dataset}",
        values="probabilities",
        tolerance=_EXACT,
        batches=tuple(
            ParityBatch(batch=size, max_difference=0, mean_difference=0, max_absolute=0, top1_agreement=1)
            for size in sizes
        ),
    )


def _as_file(split: Split, index: int, program: ModuleType, folder: Path) -> Path:
    """An image as a file that the program reads."""
    source = split.source(index)
    if isinstance(source, Path) and not program.read_pixels(str(source))[1]:
        return source
    path = folder / f"{index}.png"
    split.open(index).save(path)
    return path


def _compare(program: ModuleType, model: Path, manifest: Manifest, paths: list[Path], threads: int) -> None:
    preprocessing, decoding = _reading(manifest)
    count = len(manifest.classes)
    opened = open_session(model, provider=CPU, threads=threads)
    expected = _Rows()
    predict(
        Predictor(model.parent, model.name, manifest, preprocessing, decoding, opened),
        paths,
        expected,
        batch_size=_BATCH,
        top_k=count,
    )
    found = program.Predictor(model, CPU, threads).predict([str(path) for path in paths], count, _BATCH)
    for path, best, error in found:
        if error or best != expected.rows.get(path):
            raise ParityError(
                f"The exported {PROGRAM_FILE} does not predict {path} as noah does: {error or _first(best)} instead of "
                f"{_first(expected.rows.get(path))}.",
                "Nothing was written. Please report this.",
            )


def _first(row: list[tuple[str, float]] | None) -> str:
    return f"{row[0][0]} at {row[0][1]!r}" if row else "nothing"


class _Rows:
    """Takes what `noah predict` would write, in full precision."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[str, float]]] = {}

    def write(
        self,
        paths: Sequence[Item],
        labels: Sequence[Sequence[str]],
        probabilities: Probabilities,
        called: Sequence[str] | None = None,
    ) -> None:
        for path, names, values in zip(paths, labels, probabilities.tolist(), strict=True):
            self.rows[str(path)] = list(zip(names, values, strict=True))


def _load(path: Path) -> ModuleType:
    """Run the program's text as a module; importing it would leave its bytecode in the artifact's folder."""
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), module.__dict__)
    return module
