"""`noah predict`: results on standard output or in a file, progress on standard error, and no torch."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.formats import HEIC, import_decoder
from tests.commands import PROJECT, noah, process_environment, run_python
from tests.conftest import PHOTO_CLASSES
from tests.export.real_images import write_broken
from tests.export.tiny_artifact import make_artifact
from tests.finished import UINT8, Finished


@pytest.fixture
def artifact(finished: Finished) -> Path:
    return finished.artifact()


def test_csv_on_standard_output_and_all_else_on_standard_error(artifact: Path, photo_folder: Path) -> None:
    outcome = noah("predict", artifact, photo_folder / "test", "--provider", "cpu")
    assert outcome.code == 0
    rows = list(csv.DictReader(io.StringIO(outcome.out)))
    assert [row["path"] for row in rows] == sorted(map(str, (photo_folder / "test").glob("*/*.png")))
    assert "runs on   CPUExecutionProvider (asked for; " in outcome.err
    assert "predicted 18 images in" in " ".join(outcome.err.split())


@pytest.mark.parametrize(
    ("options", "file"), [((), "out.jsonl"), (("--format", "jsonl"), "out.txt"), ((), "deep/er/out.jsonl")]
)
def test_json_lines_by_suffix_or_format(
    artifact: Path, photo_folder: Path, tmp_path: Path, options: tuple[str, ...], file: str
) -> None:
    out = tmp_path / file
    outcome = noah("predict", artifact, photo_folder / "test" / "circle", "--out", out, "--top-k", 3, *options)
    assert (outcome.code, outcome.out) == (0, "")
    assert f"written {out}" in " ".join(outcome.err.split())
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 6
    assert all(len(line["top"]) == 3 for line in lines)


def test_the_artifact_of_the_latest_run(project: Finished, photo_folder: Path) -> None:
    outcome = noah("predict", "runs/latest/export/onnx-fp32", photo_folder / "test" / "circle")
    assert outcome.code == 0
    assert len(outcome.out.splitlines()) == 7


def test_both_kinds_of_input_give_the_same_labels(finished: Finished, photo_folder: Path) -> None:
    normalized, raw = (
        [row["label"] for row in csv.DictReader(io.StringIO(noah("predict", folder, photo_folder / "test").out))]
        for folder in (finished.artifact(), finished.artifact(UINT8))
    )
    assert normalized == raw


def test_broken_images_are_listed_at_the_end_and_the_others_written(
    artifact: Path, photo_folder: Path, tmp_path: Path
) -> None:
    photos = shutil.copytree(photo_folder / "test" / "circle", tmp_path / "photos")
    broken = write_broken(photos / "broken")
    cut = photos / "broken" / "truncated.jpg"  # whose run repaired such files, so that its artifact does
    broken.remove(cut)
    arguments = ("predict", artifact, photos, "--out", tmp_path / "out.csv", "--batch-size", 4)
    assert noah(*arguments, "--strict").code == 1
    outcome = noah(*arguments)
    assert outcome.code == 0
    with (tmp_path / "out.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == sorted(map(str, [*photos.glob("*.png"), cut]))
    words = " ".join(outcome.err.split())
    assert f"note 1 file without an end, of which what is there was predicted: {cut}" in words
    assert "failed 3 files could not be predicted:" in words
    listed = words.partition("could not be predicted: ")[2]
    for path in broken:
        assert f"{path}: " in listed
    assert "Cannot read" not in listed  # the path is told once


def test_of_many_broken_images_the_first_are_listed(artifact: Path, tmp_path: Path) -> None:
    for number in range(23):
        (tmp_path / f"{number:02}.png").write_bytes(b"")
    outcome = noah("predict", artifact, tmp_path)
    assert outcome.code == 1  # none could be predicted
    assert outcome.out == "path,label,probability\n"
    assert "19.png" in outcome.err
    assert "20.png" not in outcome.err
    assert "and 3 more" in outcome.err


def test_tables_lists_and_names_that_begin_with_a_dash(
    artifact: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = sorted((photo_folder / "test").glob("*/*.png"))[:3]
    (tmp_path / "list.csv").write_text(f"picture\n{images[0]}\nabsent.png\n")
    shutil.copy(images[1], tmp_path / "-1.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{images[2]}\n".encode())))
    outcome = noah(
        "predict", artifact, "--columns", "path=picture", "--out", "out.jsonl", "--", "list.csv", "-1.png", "-"
    )
    assert outcome.code == 0
    assert "failed 1 file could not be predicted: absent.png: no such file" in " ".join(outcome.err.split())
    found = [json.loads(line)["path"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == [str(images[0]), "-1.png", str(images[2])]


def test_labels_below_a_probability_the_likeliest_classes_and_embeddings(
    artifact: Path, photo_folder: Path, tmp_path: Path
) -> None:
    out, features = tmp_path / "out.csv", tmp_path / "deep" / "features.npy"
    options = ("--top", 2, "--min-probability", 1, "--embeddings", features, "--out", out, "--json")
    outcome = noah("predict", artifact, photo_folder / "test", *options)
    assert outcome.code == 0, outcome.err
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "label", "probability", "label_1", "probability_1", "label_2", "probability_2"]
    assert {row["label"] for row in rows} == {"unknown"}
    assert all(row["label_1"] in PHOTO_CLASSES and row["probability"] == row["probability_1"] for row in rows)
    words = " ".join(outcome.err.split())
    assert "unsure 18 images labeled unknown: no class has a probability of 1" in words
    assert "softmax without temperature" in words
    result = json.loads(outcome.out)
    assert (result["images"], result["unsure"], result["embeddings"]) == (18, 18, str(features))
    found = np.load(features)
    assert (found.dtype, found.shape) == (np.float32, (18, 64))
    assert len(np.unique(found[:, 0])) == 18


def test_files_in_the_latest_run_are_named_by_where_they_are(project: Finished, photo_folder: Path) -> None:
    options = ("--embeddings", "runs/latest/features.npy", "--out", "runs/latest/rows.csv", "--json")
    outcome = noah("predict", "runs/latest/export/onnx-fp32", photo_folder / "test", *options)
    assert outcome.code == 0, outcome.err
    words, result = " ".join(outcome.err.split()), json.loads(outcome.out)
    for option, name in (("out", "rows.csv"), ("embeddings", "features.npy")):
        assert (project.folder / result[option]).samefile(project.run / name)
        assert f"written {result[option]}" in words


def test_names_of_columns_without_a_table_are_refused(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact")
    Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    outcome = noah("predict", folder, tmp_path / "a.png", "--columns", "path=picture")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--columns has no effect, as no table was named." in outcome.err
    outcome = noah("predict", folder, tmp_path / "a.png", tmp_path / "missing.csv", "--columns", "path=picture")
    assert outcome.code == 2
    assert "No such file or folder" in outcome.err


@pytest.mark.parametrize("options", [("--top", 9), ("--min-probability", 0.5, "--other", PHOTO_CLASSES[0])])
def test_what_is_refused_prints_no_row(artifact: Path, photo_folder: Path, options: tuple[object, ...]) -> None:
    outcome = noah("predict", artifact, photo_folder / "test", *options)
    assert (outcome.code, outcome.out) == (2, "")


def test_no_torch_is_needed(finished: Finished, photo_folder: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'timm', 'accelerate'):\n"
        "    sys.modules[name] = None  # importing it fails\n"
        "from noah_cli.app import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    outcome = run_python(
        code, "predict", finished.artifact(), photo_folder / "test", "--out", tmp_path / "out.csv", folder=PROJECT
    )
    assert outcome.code == 0, outcome.err
    # The CSV of the road was written by a process that had torch.
    assert (tmp_path / "out.csv").read_bytes() == (finished.folder / "predictions.csv").read_bytes()


def test_names_that_are_no_utf_8_stop_nothing_on_a_terminal_that_takes_only_utf_8(
    artifact: Path, photo_folder: Path, tmp_path: Path
) -> None:
    image, out = (os.fsencode(tmp_path) + name for name in (b"/caf\xe9.png", b"/caf\xe9.csv"))
    try:
        shutil.copy(next((photo_folder / "test" / "circle").iterdir()), image)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    done = subprocess.run(
        [sys.executable, "-m", "noah_cli", "predict", artifact, image, "--out", out, "--provider", "cpu"],
        env=process_environment() | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert rb"caf\udce9.csv" in b" ".join(done.stderr.split())
    with open(out, encoding="utf-8") as file:  # noqa: PTH123 -- its name is bytes
        (row,) = csv.DictReader(file)
    assert row["path"].endswith(r"caf\xe9.png")


def test_a_dataset_whose_name_is_no_utf_8_is_refused_in_words(photo_folder: Path, tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    try:
        shutil.copytree(os.fsencode(photo_folder), folder)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    done = subprocess.run(
        [sys.executable, "-m", "noah_cli", "search", "--data", folder],
        cwd=tmp_path,
        env=process_environment() | {"PYTHONIOENCODING": "utf-8:strict"},
        capture_output=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].endswith(rb"/caf\xe9 is not valid UTF-8.")
    assert done.stderr.startswith(b"Error: The name of the folder ")
    assert not (tmp_path / "runs").exists()


def test_formats_without_their_package_are_counted_and_named(
    artifact: Path, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_decoder(HEIC)
    for number, path in enumerate(sorted((photo_folder / "test").glob("*/*.png"))[:3]):
        with Image.open(path) as image:
            image.save(tmp_path / f"{number}.{'heic' if number else 'png'}")
    assert len(noah("predict", artifact, tmp_path).out.splitlines()) == 4
    monkeypatch.setitem(sys.modules, HEIC.package, None)
    outcome = noah("predict", artifact, tmp_path)
    assert outcome.code == 0 and len(outcome.out.splitlines()) == 2
    words = " ".join(outcome.err.split())
    assert "failed 2 files could not be predicted: " in words and "1.heic: it is in the format HEIC" in words
    assert "2 files in the format HEIC: pip install 'noah-prompt-search[heic]' reads such files" in words


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--ray",), "--ray needs a folder to write into."),
        (("--ray", "auto", "--out", "labels", "--format", "csv"), "--ray writes Parquet, and not csv."),
        (("--ray", "--out", "labels", "--embeddings", "x.npy"), "--embeddings goes into a single file"),
        (("--ray=nowhere", "--out", "labels"), "--ray nowhere: not a place where Ray runs."),
        (("--ray", "--out", "labels", "--other", "none"), "--other labels images below --min-probability"),
        (("--shard-size", 5, "--out", "a.csv"), "--shard-size divides what --ray writes."),
    ],
)
def test_options_that_mean_nothing_together(options: tuple[object, ...], told: str) -> None:
    outcome = noah("predict", "artifact", "photos", *options)
    assert outcome.code == 2
    assert told in outcome.err


def test_without_ray_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys\nsys.modules['ray'] = None\nfrom noah_cli.app import main\nsys.exit(main(sys.argv[1:]))"
    outcome = run_python(hidden, "predict", "artifact", "photos", "--ray", "--out", "labels", folder=tmp_path)
    assert outcome.code == 1
    assert outcome.error_lines == [
        "Error: --ray needs the package ray, which is not installed.",
        "Type: pip install 'noah-prompt-search[ray]'",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_ray_is_refused_with_the_option_that_reads_it(tmp_path: Path) -> None:
    outcome = noah("predict", make_artifact(tmp_path / "artifact"), "s3://bucket/photos", "--out", tmp_path / "a.csv")
    assert outcome.code == 2
    assert "Addresses are read with --ray." in outcome.err
