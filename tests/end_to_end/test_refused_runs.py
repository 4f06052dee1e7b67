"""Commands out of order, damaged runs and artifacts, and predictions that cannot be made."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Outcome, noah_line
from tests.end_to_end.refusals import Case, add_file, assert_refused, refuse
from tests.finished import FLOAT, UINT8, Finished

ORDER = {
    **{
        f"{command} before any run": Case(
            f"noah {command}", 2, ["There is no run under runs/ yet.", "Start with: noah search --dataset digits"]
        )
        for command in ("search --resume", "retrain", "eval", "export --format onnx")
    },
    "predict before export": Case(
        f"noah predict runs/latest/export/{FLOAT} photos",
        1,
        [
            f"No artifact here: runs/latest/export/{FLOAT} does not exist.",
            "Write one: noah export",
        ],
    ),
    "a name that is a path": Case(
        "noah search --run my/run",
        2,
        [
            "A run cannot be named 'my/run': it is a name below runs/photos/, not a path.",
            "Type only the last part, such as --run first.",
        ],
    ),
    "runs in a file": Case(
        "noah search --runs noah.yaml",
        1,
        ["noah.yaml/photos...", "Check the path, its permissions and the free space; --debug tells more."],
    ),
}


@pytest.mark.parametrize("case", ORDER.values(), ids=ORDER)
def test_without_a_run(good_folder: Path, case: Case) -> None:
    refuse(case, good_folder)


def remove(*paths: str) -> Callable[[Path], None]:
    """Remove files or folders below the run folder."""

    def spoil(folder: Path) -> None:
        for path in paths:
            target = folder / "runs" / "shapes" / "first" / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def damage(path: str, *, length: int | None = None) -> Callable[[Path], None]:
    """Flip a byte of a file of the run, or cut it to a length."""

    def spoil(folder: Path) -> None:
        file = folder / "runs" / "shapes" / "first" / path
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content if length is None else content[:length])

    return spoil


SEARCH_FIRST = [
    "The search of shapes/first has not finished.",
    "Finish it with: noah search --resume --run shapes/first",
]
RETRAIN_FIRST = ["The subnet of shapes/first has not been retrained.", "Type: noah retrain --run shapes/first"]
MODEL = f"export/{FLOAT}/model.onnx"
MODEL_PATH = f"runs/shapes/first/{MODEL}"
AGAIN = "Export it again: noah export --format onnx --precision fp32 --run shapes/first"

WITH_A_RUN = {
    "run that exists": Case(
        "noah search --run first",
        2,
        [
            "The run folder runs/shapes/first exists already.",
            "Go on with it: noah search --resume --run shapes/first. Or choose another name with --run.",
        ],
    ),
    "unknown run": Case(
        "noah retrain --run shapes/frist",
        2,
        ["There is no run shapes/frist under runs/.", "The runs are: shapes/first."],
    ),
    "retrain before search": Case("noah retrain", 2, SEARCH_FIRST, remove("search/best.json")),
    "export before search": Case("noah export --format onnx", 2, SEARCH_FIRST, remove("search/best.json")),
    "eval before retrain": Case("noah eval", 2, RETRAIN_FIRST, remove("retrain", "eval")),
    "export before retrain": Case("noah export --format onnx", 2, RETRAIN_FIRST, remove("retrain")),
    "export before the end of retrain": Case(
        "noah export --format onnx",
        2,
        [
            "The subnet of shapes/first has not been retrained to its end.",
            "Type: noah retrain --resume --run shapes/first",
        ],
        remove("retrain/model.json"),
    ),
    "resume with other options": Case(
        "noah search --resume --seed 5 --set supernet.epochs=9 --data elsewhere",
        2,
        [
            "seed: the run shapes/first was started with 0, not 5 (--seed)",
            "data.folder: the run shapes/first was started with '...",
            "supernet.epochs: the run shapes/first was started with 6, not 9 (--set)",
            "Type: noah search --resume --run shapes/first",
        ],
    ),
    "damaged run.yaml": Case(
        "noah retrain --restart",
        1,
        ["runs/shapes/first/run.yaml holds no settings.", "Start a new run with `noah search`."],
        add_file("runs/shapes/first/run.yaml", "seed: 3"),
    ),
    "damaged best.json": Case(
        "noah retrain",
        1,
        ["runs/shapes/first/search/best.json is damaged: ...", "Start a new run with `noah search`."],
        damage("search/best.json", length=20),
    ),
    "damaged record of the search": Case(
        "noah search --resume",
        1,
        ["runs/shapes/first/search/journal.log is damaged: ...", "Start a new run with `noah search`."],
        lambda folder: (
            remove("search/best.json")(folder),
            add_file("runs/shapes/first/search/journal.log", "{torn\n{}\n")(folder),
        ),
    ),
    "damaged checkpoint": Case(
        "noah export --format onnx",
        1,
        [
            "The checkpoint runs/shapes/first/retrain/checkpoint.safetensors cannot be read: ...",
            "Train the winner again: noah retrain --restart --run shapes/first",
        ],
        damage("retrain/checkpoint.safetensors", length=1000),
    ),
    "missing artifact": Case(
        "noah predict nowhere photos",
        1,
        ["No artifact here: nowhere does not exist.", "Write one: noah export"],
    ),
    "folder that is no artifact": Case(
        "noah predict runs/latest photos",
        1,
        [
            "No artifact here: runs/shapes/first/manifest.json does not exist.",
            f"Name one that is there: runs/shapes/first/export/{FLOAT}, runs/shapes/first/export/{UINT8}",
        ],
    ),
    "damaged model": Case(
        f"noah predict {MODEL_PATH} photos",
        1,
        [f"{MODEL_PATH} was changed or damaged: its SHA-256 is not the manifest's.", AGAIN],
        damage(MODEL),
    ),
    "model cut short": Case(
        f"noah eval runs/shapes/first/export/{FLOAT}",
        1,
        [
            f"{MODEL_PATH} was changed or damaged: its size (1,000 bytes) is not the manifest's.",
            AGAIN,
        ],
        damage(MODEL, length=1000),
    ),
    "missing model": Case(
        f"noah predict runs/shapes/first/export/{FLOAT} photos",
        1,
        [
            f"The artifact in runs/shapes/first/export/{FLOAT} lacks its file model.onnx.",
            AGAIN,
        ],
        remove(MODEL),
    ),
    "pattern that matches nothing": Case(
        f"noah predict runs/shapes/first/export/{FLOAT} 'nowhere/*.png'",
        2,
        ["The pattern nowhere/*.png matches no images.", "Try '**/*.jpg' for the images of all subfolders."],
    ),
    "missing image": Case(
        f"noah predict runs/shapes/first/export/{FLOAT} nowhere.png",
        2,
        ["No such file or folder: nowhere.png.", "Name images, folders or globs such as 'photos/**/*.jpg'."],
    ),
    "provider that is not there": Case(
        f"noah predict runs/shapes/first/export/{FLOAT} photos --provider abacus",
        2,
        ["onnxruntime has no provider 'abacus'.", "Installed here: ..."],
    ),
}


@pytest.mark.parametrize("case", WITH_A_RUN.values(), ids=WITH_A_RUN)
def test_with_a_run(project: Finished, case: Case) -> None:
    refuse(case, project.folder)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (
            "--out out.txt",
            ["The suffix of out.txt is not that of a prediction format.", "Suffixes: .csv, .jsonl, .parquet."],
        ),
        (
            "--top 4",
            [
                "The 4 likeliest classes are asked for, but this artifact has 3 classes.",
                "Ask for fewer: --top 3",
            ],
        ),
        (
            "--min-probability 0.8 --other circle",
            [
                "circle is one of the artifact's classes, so it cannot also stand for none of them.",
                "Name another label after --other.",
            ],
        ),
        (
            "--other unknown",
            ["--other labels images below --min-probability, which is missing.", "Add --min-probability 0.8, say."],
        ),
        ("--embeddings out.txt", ["Embeddings are written as .npy, not as out.txt.", "Name it features.npy, say."]),
        ("--format parquet", ["Parquet cannot go to standard output.", "Name a file: --out predictions.parquet"]),
        ("--out runs --format csv", ["...", "Name a file, or leave --out off to write to standard output."]),
    ],
)
def test_predictions_that_cannot_be_written(
    project: Finished, photo_folder: Path, options: str, error: list[str]
) -> None:
    outcome = noah_line(f"noah predict {project.artifact()} {photo_folder}/test {options}")
    # What it runs on is told before, on standard error too.
    lines = outcome.err[outcome.err.index("Error: ") :]
    assert_refused(Outcome(outcome.code, outcome.out, lines), 2, error)
    assert not (project.folder / "out.txt").exists()


def test_broken_images_among_good_ones(project: Finished, photo_folder: Path) -> None:
    photos = shutil.copytree(photo_folder / "test", project.folder / "photos")
    (photos / "circle" / "00.png").write_bytes(b"")
    (photos / "square" / "new.jpg").write_text("no image")
    outcome = noah_line(f"noah predict runs/latest/export/{FLOAT} photos --out out.csv")
    assert (outcome.code, outcome.out) == (0, "")
    assert len((project.folder / "out.csv").read_text().splitlines()) == 1 + 17
    words = " ".join(outcome.err.split())
    cause = "it is in no image format that noah knows, or damaged at its beginning."
    assert words.endswith(
        "written out.csv failed 2 files could not be predicted: "
        f"photos/circle/00.png: {cause} photos/square/new.jpg: {cause}"
    )
