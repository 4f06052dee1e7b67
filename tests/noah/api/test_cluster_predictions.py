"""Predictions on a cluster: every row once, labeled as by a single process, whatever is killed, wherever images are."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import parquet

from export.formats.load import load_predictor
from export.formats.onnx import ONNX_FILE
from export.formats.registry import model_files
from export.formats.trt import ENGINE
from export.predict.predict import Threshold, predict
from export.predict.prediction_table import open_writer
from noah.api.cluster_predictions import (
    ClusterSummary,
    Slow,
    Timing,
    choose_provider,
    choose_resources,
    find_slow,
    machine_rates,
    predict_on_cluster,
)
from noah.cluster.resources import Resources
from noah.cluster.session import Machine
from noah.errors import MissingPackageError, UsageError
from tests.bucket import bucket as bucket  # the fixture
from tests.commands import noah, start_noah
from tests.export.predict.many_images import png, write_archive, write_folder, write_table
from tests.export.tiny_artifact import make_artifact
from tests.noah.cluster.machines import MACHINE, machines
from tests.noah.tiny_run import Recorder

Rows = dict[str, dict[str, Any]]


def test_slow_parts_are_those_far_from_the_middle_one() -> None:
    usual = [Timing(f"part-{number}", "m1", 100, 12.5) for number in range(5)]
    slow = Timing("slow", "m2", 100, 43.75)
    large = Timing("large", "m1", 1000, 125.0)
    small = Timing("small", "m1", 1, 0.5)  # five times as slow, and nobody noticed
    empty = Timing("empty", "m1", 0, 3.0)
    slower = Timing("slower", "m1", 50, 25.0)
    assert find_slow([*usual, slow, large, small, empty, slower]) == (
        Slow("slower", "m1", 25.0, 4.0),
        Slow("slow", "m2", 43.75, 3.5),
    )
    assert find_slow([]) == () == find_slow([empty])


def test_each_machine_has_its_rate() -> None:
    timings = [Timing("a", "m2", 100, 10.0), Timing("b", "m1", 30, 1.0), Timing("c", "m2", 200, 10.0)]
    assert machine_rates(timings) == {"m1": 30.0, "m2": 15.0}


def machine(**resources: float) -> Machine:
    return Machine("m1", "node", {"CPU": 8.0, **resources})


@pytest.mark.parametrize(
    ("machines", "options", "chosen"),
    [
        ([machine()], {}, Resources(1)),
        ([machine()], {"threads": 4}, Resources(4)),
        ([machine(), machine(GPU=2.0)], {}, Resources(4, 1)),
        ([machine(GPU=2.0), machine(GPU=4.0)], {}, Resources(2, 1)),
        ([machine(GPU=2.0)], {"threads": 3}, Resources(3, 1)),
        ([machine(GPU=16.0)], {"provider": "cuda"}, Resources(1, 1)),
        ([machine(GPU=2.0)], {"provider": "cpu"}, Resources(1)),
        ([machine()], {"provider": "CPU"}, Resources(1)),
        ([machine(GPU=2.0)], {"provider": "CPUExecutionProvider"}, Resources(1)),
        ([machine(GPU=2.0)], {"provider": "openvino"}, Resources(1)),
        ([machine(GPU=2.0)], {"model": model_files()["model.xml"]}, Resources(1)),
    ],
)
def test_what_a_worker_asks_for(machines: list[Machine], options: dict[str, Any], chosen: Resources) -> None:
    asked = {"model": ONNX_FILE, "provider": None, "threads": None} | options
    assert choose_resources(machines, **asked)[0] == chosen


def test_what_was_asked_to_run_it_does() -> None:
    assert choose_provider(ONNX_FILE, "openvino", Resources(1)) == "openvino"
    assert choose_provider(ONNX_FILE, None, Resources(1)) == "cpu"  # though Ray hides no GPU
    assert choose_provider(ONNX_FILE, None, Resources(1, 1)) is None
    assert choose_provider(model_files()["model.xml"], None, Resources(1)) is None
    assert choose_provider(ENGINE, None, Resources(1, 1)) is None


def test_without_pyarrow_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="pyarrow"):
        predict_on_cluster(tmp_path, ["photos"], str(tmp_path / "out"), Recorder(), where="local")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [{"provider": "cuda"}, {"provider": "tensorrt"}, {"model": ENGINE}])
def test_a_gpu_that_nobody_has(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="needs a GPU, and no machine of the cluster has one"):
        choose_resources([machine()], **({"model": ONNX_FILE, "provider": None, "threads": None} | options))


@dataclass(frozen=True)
class Place:
    """Where the tests of the cluster take place."""

    nodes: Any
    artifact: Path
    bucket: str

    def predict(self, patterns: Sequence[str], out: str, **options: Any) -> ClusterSummary:
        listener = options.pop("listener", Recorder())
        return predict_on_cluster(
            self.artifact, patterns, out, listener, where=self.nodes.address, shard_size=5, batch_size=4, **options
        )


@pytest.fixture(scope="module")
def place(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Two machines with one core each, and an object store, which is there before them, so that they know of it."""
    with machines(2) as nodes:
        yield Place(nodes, make_artifact(tmp_path_factory.mktemp("cluster") / "artifact"), bucket)


def rows_of(files: Sequence[Any]) -> Rows:
    """All rows of Parquet files, each of whose paths is there once."""
    rows = [row for file in files for row in parquet.read_table(file).to_pylist()]
    by_path = {row["path"]: row for row in rows}
    assert len(by_path) == len(rows)
    return by_path


def alone(artifact: Path, paths: Sequence[str], folder: Path, top_k: int = 1) -> Rows:
    """What a single process says of files."""
    out = folder / "alone.parquet"
    with open_writer(out, top_k=top_k) as writer:
        predict(load_predictor(artifact, threads=1), map(Path, paths), writer, batch_size=8, top_k=top_k)
    return rows_of([out])


def check_same(found: Rows, expected: Rows, renamed: Callable[[str], str] = str) -> None:
    """The same labels for the same images, and the same probabilities to float rounding."""
    assert {renamed(path) for path in expected} == set(found)
    for path, row in expected.items():
        for name, value in row.items():
            if name.startswith("label"):
                assert found[renamed(path)][name] == value
            elif name.startswith("probability"):
                assert found[renamed(path)][name] == pytest.approx(value, abs=1e-6)


@pytest.mark.slow
def test_images_of_every_kind_on_disk(place: Place, tmp_path: Path) -> None:
    files = write_folder(tmp_path / "photos", range(40), broken=(7, 39))
    archived = write_archive(tmp_path / "shards" / "000.tar", range(40, 53), broken=(41,))
    write_table(tmp_path / "a.parquet", [png(number) for number in range(53, 63)])
    write_folder(tmp_path / "other", range(63, 65))
    (tmp_path / "list.csv").write_text("path\nother/00063.png\nother/00064.png\nother/none.png\n")
    out = tmp_path / "labels"
    patterns = [str(tmp_path / name) for name in ("photos", "shards/{000..000}.tar", "a.parquet", "list.csv")]
    recorder = Recorder()
    summary = place.predict(patterns, str(out), top_k=2, listener=recorder)
    every = write_folder(tmp_path / "every", range(65))
    expected = alone(place.artifact, every, tmp_path, top_k=2)
    names = [*files, *archived, *(f"{tmp_path / 'a.parquet'}/{row}" for row in range(10))]
    names += [str(tmp_path / "other" / f"{number:05}.png") for number in (63, 64)]
    named = dict(zip(every, names, strict=True))
    for broken in (7, 39, 41):
        del expected[every[broken]]
    check_same(rows_of(sorted(out.glob("*.parquet"))), expected, named.__getitem__)
    assert {path for path, _ in summary.failures} == {names[7], names[39], names[41], str(tmp_path / "other/none.png")}
    assert (summary.images, summary.images_now, summary.parts, summary.parts_failed) == (62, 62, 12, ())
    assert summary.images_per_second > 0
    assert 1 <= len(summary.machines) <= 2  # on a busy machine one of the two may have done all before the other began
    assert "images    43 files, 1 archive, 10 rows of 1 table, in 12 parts" in recorder.said
    failures = (out / "_failures.csv").read_text().splitlines()
    assert len(failures) == 5 and failures[0] == "path,cause"

    again = place.predict(patterns, str(out), top_k=2)
    assert (again.images, again.images_now, again.failures) == (62, 0, summary.failures)
    with pytest.raises(UsageError, match="begun with --top 2, and now there is --top 1"):
        place.predict(patterns, str(out))
    write_folder(tmp_path / "photos", range(90, 91))
    with pytest.raises(UsageError, match=r"it is for 43 files, .* and now there are 44 files"):
        place.predict(patterns, str(out), top_k=2)


@pytest.mark.slow
def test_images_of_every_kind_in_an_object_store(place: Place, tmp_path: Path) -> None:
    store = fsspec.filesystem("s3", skip_instance_cache=True)
    for number in range(12):
        store.pipe(f"{place.bucket}/photos/{number:05}.png", png(number))
    store.pipe(f"{place.bucket}/photos/broken.png", b"no image")
    archived = write_archive(tmp_path / "a.tar", range(12, 18))
    store.put_file(str(tmp_path / "a.tar"), f"{place.bucket}/a.tar")
    write_table(tmp_path / "a.parquet", [png(number) for number in range(18, 22)])
    store.put_file(str(tmp_path / "a.parquet"), f"{place.bucket}/a.parquet")
    store.pipe(f"{place.bucket}/list.csv", b"path\nphotos/00000.png\nphotos/none.png\n")
    patterns = [f"{place.bucket}/{name}" for name in ("photos", "a.tar", "a.parquet", "list.csv")]
    out = f"{place.bucket}/labels"
    summary = place.predict(patterns, out, threshold=Threshold(0.5, "none"))
    every = write_folder(tmp_path / "every", range(22))
    expected = list(alone(place.artifact, every, tmp_path).values())
    found = rows_of([store.open(path) for path in store.ls(out, detail=False, refresh=True) if "/part-" in path])
    assert len(found) == 22
    labels = [row["label"] if row["probability"] >= 0.5 else "none" for row in expected]
    for number in range(12):
        assert found[f"{place.bucket}/photos/{number:05}.png"]["label"] == labels[number]
    for name, label in zip(archived, labels[12:18], strict=True):
        assert found[name.replace(str(tmp_path), place.bucket)]["label"] == label
    for row in range(4):
        assert found[f"{place.bucket}/a.parquet/{row}"]["label"] == labels[18 + row]
    assert dict(summary.failures) == {
        f"{place.bucket}/photos/broken.png": "it is in no image format that noah knows, or damaged at its beginning.",
        f"{place.bucket}/photos/none.png": "no such file or directory.",
    }
    assert summary.unsure == labels.count("none")
    assert place.predict(patterns, out, threshold=Threshold(0.5, "none")).images_now == 0
    assert store.exists(f"{out}/_failures.csv")


def finished_parts(out: Path) -> dict[str, int]:
    """The parts that are there, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}


def hang(path: str) -> None:
    """Put a file that nobody can open to its end in the place of an image: as on a disk that does not answer."""
    Path(path).unlink()
    os.mkfifo(path)


def heal(path: str, number: int) -> None:
    Path(f"{path}.new").write_bytes(png(number))
    Path(f"{path}.new").rename(path)


@pytest.mark.slow
def test_killed_and_gone_on_with(place: Place, tmp_path: Path) -> None:
    files = write_folder(tmp_path / "photos", range(200), broken=(3,))
    hang(files[150])
    out = tmp_path / "labels"
    arguments = ("predict", place.artifact, tmp_path / "photos", "--ray", place.nodes.address, "--out", out)
    arguments += ("--shard-size", "5", "--batch-size", "4")
    first = start_noah(*arguments, folder=tmp_path)
    until = time.monotonic() + 200
    while len(finished_parts(out)) < 39 and time.monotonic() < until and first.poll() is None:
        time.sleep(0.1)
    first.kill()
    first.wait()
    before = finished_parts(out)
    assert len(before) == 39
    heal(files[150], 150)

    outcome = noah(*arguments)
    assert outcome.code == 0
    said = " ".join(outcome.err.split())
    assert "resume 39 of 40 parts are done, with 194 images" in said
    assert "predicted 5 images in" in said and "199 images in all" in said
    assert "failed 1 file could not be predicted:" in said and f"{out}/_failures.csv" in said
    assert before.items() <= finished_parts(out).items()  # nothing that was done is done again
    expected = alone(place.artifact, [file for file in files if file != files[3]], tmp_path)
    check_same(rows_of(sorted(out.glob("*.parquet"))), expected)


@pytest.mark.slow
def test_machines_that_vanish_and_one_that_joins(place: Place, tmp_path: Path) -> None:
    files = write_folder(tmp_path / "photos", range(200))
    hung = {30: files[30], 110: files[110]}
    for path in hung.values():
        hang(path)
    out = tmp_path / "labels"

    def change() -> None:
        for number, path in hung.items():
            heal(path, number)
        leaving = [node for node in place.nodes.list_all_nodes() if not node.head]
        place.nodes.add_node(**MACHINE)
        for node in leaving:
            place.nodes.remove_node(node, allow_graceful=False)

    # One worker hangs in the first of them; the other does all that come before the second, and hangs there.
    recorder = _Once(lambda: len(finished_parts(out)) == 21, change)
    summary = place.predict([str(tmp_path / "photos")], str(out), listener=recorder)
    assert (summary.images, summary.retries, summary.parts_failed) == (200, 2, ())
    assert sum(line.startswith("retry     part-") for line in recorder.said) == 2
    check_same(rows_of(sorted(out.glob("*.parquet"))), alone(place.artifact, files, tmp_path))


class _Once(Recorder):
    """Does something once the bar has moved a few times while a condition held."""

    def __init__(self, when: Callable[[], bool], act: Callable[[], None]) -> None:
        super().__init__()
        self.when, self.act, self.seen = when, act, 0

    def update(self, done: float, text: str = "", detail: object = None) -> None:
        if self.seen < 4 and self.when():
            self.seen += 1
            if self.seen == 4:
                self.act()
