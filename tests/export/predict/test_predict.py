from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import export
from export.predict.embeddings import open_embeddings
from export.predict.image_paths import find_images
from export.predict.predict import BATCHES_AHEAD, NOT_FINITE, PredictionSummary, Threshold, predict
from export.predict.prediction_table import open_writer
from export.predict.predictor import Batch, Predictor, load_predictor
from noah.data.decode import open_image
from noah.data.decoding import AS_STORED
from noah.errors import ArtifactError, UsageError
from tests.export.real_images import write_broken, write_readable
from tests.export.tiny_artifact import CLASSES, PREPROCESSING, make_artifact, probabilities_by_hand

ROOT = Path(export.__file__).parents[1]


class Rows:
    """A writer that keeps what it gets."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.labels: list[list[str]] = []
        self.probabilities: list[list[float]] = []
        self.called: list[str] = []

    def write(
        self,
        paths: Sequence[Path],
        labels: Sequence[Sequence[str]],
        probabilities: np.ndarray,
        called: Sequence[str] | None = None,
    ) -> None:
        assert len(paths) == len(labels) == len(probabilities)
        self.paths += paths
        self.called += called or []
        self.labels += map(list, labels)
        self.probabilities += probabilities.tolist()


@pytest.fixture(scope="module", params=["float32", "uint8"])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = make_artifact(tmp_path_factory.mktemp("predict") / "artifact", request.param)
    return load_predictor(folder, provider="cpu", threads=1)


@pytest.fixture
def images(tmp_path: Path) -> tuple[list[Path], list[Path]]:
    """(readable, broken), one folder of each."""
    return write_readable(tmp_path / "images"), write_broken(tmp_path / "images" / "broken")


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_every_prediction_is_the_one_by_hand_and_every_broken_image_is_listed(
    predictor: Predictor, images: tuple[list[Path], list[Path]], tmp_path: Path, batch_size: int
) -> None:
    readable, broken = images
    rows, steps = Rows(), list[int]()
    summary = predict(
        predictor,
        find_images([str(tmp_path / "images")]),
        rows,
        batch_size=batch_size,
        workers=3,
        top_k=len(CLASSES),
        progress=steps.append,
    )
    assert sorted(rows.paths) == readable
    for path, labels, probabilities in zip(rows.paths, rows.labels, rows.probabilities, strict=True):
        alone = probabilities_by_hand(PREPROCESSING.pixels(open_image(path))[None])[0]
        order = np.argsort(-alone)
        assert labels == [CLASSES[index] for index in order]
        assert probabilities == pytest.approx(alone[order], abs=1e-5)
    assert summary.images == len(readable)
    assert sorted(path for path, _ in summary.failures) == [str(path) for path in broken]
    assert all(cause for _, cause in summary.failures)
    assert sum(steps) == len(readable) + len(broken)
    assert max(steps) <= batch_size


def test_a_plain_image_needs_only_pillow_to_be_checked(predictor: Predictor, tmp_path: Path) -> None:
    """The whole way by hand for one PNG: resize, crop, scale, multiply."""
    pixels = np.random.default_rng(5).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "plain.png")
    # 6 x 8 pixels are 0.9 of the resized image: 6 / 0.9 = 6 and 8 / 0.9 = 8 rounded down, so the height fits exactly.
    resized = Image.fromarray(pixels).resize((10, 6), Image.Resampling.BICUBIC).crop((1, 0, 9, 6))
    rows = Rows()
    predict(predictor, [tmp_path / "plain.png"], rows)
    alone = probabilities_by_hand(np.asarray(resized)[None])[0]
    assert rows.labels == [[CLASSES[alone.argmax()]]]
    assert rows.probabilities[0] == pytest.approx([alone.max()], abs=1e-5)


def test_the_file_holds_what_was_predicted(
    predictor: Predictor, images: tuple[list[Path], list[Path]], tmp_path: Path
) -> None:
    rows = Rows()
    predict(predictor, images[0], rows, batch_size=4, top_k=2)
    with open_writer(tmp_path / "out.csv", top_k=2) as writer:
        predict(predictor, images[0], writer, batch_size=4, top_k=2)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["path"] for row in found] == [str(path) for path in rows.paths]
    assert [[row["label"], row["label_2"]] for row in found] == rows.labels
    assert [row["probability_2"] for row in found] == [f"{second:.6g}" for _, second in rows.probabilities]


class FixedProbabilities(Predictor):
    """A predictor without a model, that gives what the test says."""

    def __init__(self, probabilities: list[float]) -> None:
        self.decoding = AS_STORED
        self._probabilities = probabilities

    @property
    def classes(self) -> tuple[str, ...]:
        return ("a", "b", "c")

    def pixels(self, image: Image.Image) -> np.ndarray:
        return PREPROCESSING.pixels(image)

    def probabilities(self, pixels: Batch) -> np.ndarray:
        return np.tile(np.array(self._probabilities, np.float32), (len(pixels), 1))


def test_equally_likely_classes_keep_the_order_of_the_model(images: tuple[list[Path], list[Path]]) -> None:
    rows = Rows()
    predict(FixedProbabilities([0.2, 0.4, 0.4]), images[0], rows, top_k=3)
    assert rows.labels == [["b", "c", "a"]] * len(images[0])


def test_an_output_that_is_not_finite_is_a_failure(images: tuple[list[Path], list[Path]]) -> None:
    class SometimesNan(FixedProbabilities):
        def probabilities(self, pixels: Batch) -> np.ndarray:
            values = super().probabilities(pixels)
            values[1::2] = np.nan
            return values

    rows, readable = Rows(), images[0]
    summary = predict(SometimesNan([0.5, 0.3, 0.2]), readable, rows, batch_size=100)
    assert rows.paths == readable[::2]
    assert summary.failures == tuple((str(path), NOT_FINITE) for path in readable[1::2])
    assert summary.images == len(readable[::2])


@pytest.mark.parametrize("least", [0.0, 0.5, 1.0])
def test_images_that_no_class_is_likely_enough_for_get_another_label(
    predictor: Predictor, images: tuple[list[Path], list[Path]], least: float
) -> None:
    plain, rows = Rows(), Rows()
    predict(predictor, images[0], plain, top_k=2)
    summary = predict(predictor, images[0], rows, top_k=2, threshold=Threshold(least, "none of these"))
    assert (rows.labels, rows.probabilities) == (plain.labels, plain.probabilities)
    assert rows.called == [
        "none of these" if probabilities[0] < least else labels[0]
        for labels, probabilities in zip(plain.labels, plain.probabilities, strict=True)
    ]
    assert summary.unsure == rows.called.count("none of these")


def test_the_other_label_is_no_class(predictor: Predictor) -> None:
    with pytest.raises(UsageError, match="dog is one of the artifact's classes"):
        predict(predictor, [], Rows(), threshold=Threshold(0.5, "dog"))


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_embeddings_are_in_the_order_of_the_rows(
    images: tuple[list[Path], list[Path]], tmp_path: Path, batch_size: int
) -> None:
    """The tiny artifact's head reads the normalized pixels themselves."""
    folder = make_artifact(tmp_path / "artifact")
    predictor, rows = load_predictor(folder, provider="cpu", threads=1, embeddings=True), Rows()
    readable, broken = images
    with open_embeddings(tmp_path / "features.npy") as file:
        summary = predict(predictor, [*broken, *readable], rows, batch_size=batch_size, embeddings=file)
    assert file.rows == summary.images == len(readable)
    pixels = [PREPROCESSING.pixels(open_image(path)) for path in rows.paths]
    expected = [PREPROCESSING.normalize(one[None]).reshape(-1) for one in pixels]
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), np.stack(expected))


def test_no_images_are_no_error(predictor: Predictor) -> None:
    rows = Rows()
    summary = predict(predictor, [], rows)
    assert (summary.images, summary.failures, rows.paths) == (0, (), [])


@pytest.mark.parametrize("top_k", [0, len(CLASSES) + 1])
def test_more_labels_than_classes_are_refused(predictor: Predictor, top_k: int) -> None:
    with pytest.raises(UsageError, match=f"The {top_k} likeliest classes are asked for, but this artifact has 4"):
        predict(predictor, [], Rows(), top_k=top_k)


def test_the_times_are_parts_of_the_whole(predictor: Predictor, images: tuple[list[Path], list[Path]]) -> None:
    summary = predict(predictor, images[0], Rows())
    assert summary.seconds >= summary.seconds_waiting + summary.seconds_model
    assert min(summary.seconds_waiting, summary.seconds_model) > 0
    assert PredictionSummary(10, (), (), 0, 4.0, 1.0, 2.0).images_per_second == 2.5
    assert PredictionSummary(0, (), (), 0, 0.0, 0.0, 0.0).images_per_second == 0


def test_memory_is_bounded_however_slow_the_model(images: tuple[list[Path], list[Path]]) -> None:
    """Paths are taken as needed: never more than those ahead and those in the model."""
    taken: list[int] = []
    in_model: list[int] = []

    def endless() -> Iterator[Path]:
        for number in range(60):
            taken.append(number)
            yield images[0][number % len(images[0])]

    class Counting(FixedProbabilities):
        def probabilities(self, pixels: Batch) -> np.ndarray:
            in_model.append(len(taken))
            return super().probabilities(pixels)

    predict(Counting([1, 0, 0]), endless(), Rows(), batch_size=3, workers=2)
    assert in_model == [min(60, 3 * (number + 1 + BATCHES_AHEAD)) for number in range(20)]


def test_memory_does_not_grow_with_the_number_of_files(predictor: Predictor, tmp_path: Path) -> None:
    """2,000 files: what is held at once is a few batches; text of the paths aside, which is told apart here."""
    content = write_readable(tmp_path / "kinds")
    photos = tmp_path / "photos"
    photos.mkdir()
    small = next(path for path in content if path.name == "plain.png").read_bytes()
    for number in range(2000):
        (photos / f"{number:04}.png").write_bytes(small)

    def peak(count: int) -> int:
        paths = find_images([str(photos / "????.png")])
        assert len(paths) == 2000
        with open_writer(tmp_path / "out.csv") as writer:
            tracemalloc.start()
            try:
                summary = predict(predictor, islice(paths, count), writer, batch_size=16, workers=2)
                highest = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert (summary.images, summary.failures) == (count, ())
        return highest

    peak(32)  # what is imported or cached at the first use
    assert peak(2000) < 1.5 * peak(200) + 100_000


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ArtifactError])
def test_an_interruption_in_the_model_leaves_no_thread(
    images: tuple[list[Path], list[Path]], interruption: type[BaseException]
) -> None:
    class Interrupted(FixedProbabilities):
        def probabilities(self, pixels: Batch) -> np.ndarray:
            raise interruption("stop")

    with pytest.raises(interruption):
        predict(Interrupted([1, 0, 0]), images[0] * 10, Rows(), batch_size=2)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


WITHOUT_TORCH = """
import sys
for name in ("torch", "torchvision", "timm", "accelerate"):
    sys.modules[name] = None  # any import of it raises ImportError
from pathlib import Path
from export.predict.image_paths import find_images
from export.predict.predict import predict
from export.predict.prediction_table import open_writer
from export.predict.predictor import load_predictor
artifact, photos, out = sys.argv[1:]
with open_writer(Path(out), top_k=2) as writer:
    summary = predict(load_predictor(Path(artifact)), find_images([photos]), writer, top_k=2)
print(summary.images, len(summary.failures))
"""


def run_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_prediction_needs_no_torch(images: tuple[list[Path], list[Path]], tmp_path: Path, suffix: str) -> None:
    artifact = make_artifact(tmp_path / "artifact")
    process = run_python(WITHOUT_TORCH, artifact, tmp_path / "images", tmp_path / f"out.{suffix}")
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.split() == [str(len(images[0])), str(len(images[1]))]
    assert (tmp_path / f"out.{suffix}").stat().st_size > 0


ENDLESS = """
import signal
import sys
from itertools import repeat
from pathlib import Path
from export.predict.predict import predict
from export.predict.prediction_table import open_writer
from export.predict.predictor import load_predictor
artifact, image, out = sys.argv[1:]
signal.signal(signal.SIGINT, signal.default_int_handler)  # a process in the background inherits that it is ignored
with open_writer(Path(out)) as writer:
    predictor = load_predictor(Path(artifact))
    predict(predictor, repeat(Path(image)), writer, progress=lambda count: print(count, flush=True))
"""


@pytest.mark.skipif(os.name == "nt", reason="another signal there")
def test_control_c_ends_the_process_and_leaves_no_file(tmp_path: Path, images: tuple[list[Path], list[Path]]) -> None:
    artifact = make_artifact(tmp_path / "artifact")
    (tmp_path / "out").mkdir()
    process = run_python(ENDLESS, artifact, images[0][0], tmp_path / "out" / "out.csv")
    assert process.stdout is not None
    assert process.stdout.readline() == "32\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert list((tmp_path / "out").iterdir()) == []
