"""Predicts many small images on clusters of 1, 2 and 3 machines, kills one run in the middle, and goes on with it.

    python -m benchmarks.cluster_predict runs/latest/export/onnx-fp32 [--images 20000] [--machines 1 2 3]

The images are small JPEGs in tar archives. The machines are Ray's own for tests: processes of this machine, with one
core each. The run that is killed has the most machines; what is killed is the process that hands out the parts, with
SIGKILL, once a third of them is done. Prints one line of JSON: images a second of a single process of `noah predict` on
the same images as files, and for each number of machines, starts excluded; how long killed and continued run took; rows
that are missing, doubled, or labeled otherwise than by the single process; and parts that were written twice. Fails if
there are any of these.
"""

from __future__ import annotations

import argparse
import io
import json
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pyarrow import parquet

from noah.cluster.session import load_ray

_SIDE = 64
_TIE = 1e-4
"""Probabilities that are closer than this may change places with the size of the batch."""


def write_images(folder: Path, count: int, per_archive: int) -> None:
    """Write each image twice: as FOLDER/files/NUMBER.jpg, and in FOLDER/shards/NUMBER.tar."""
    rng = np.random.default_rng(0)
    for part in ("files", "shards"):
        (folder / part).mkdir()
    for start in range(0, count, per_archive):
        with tarfile.open(folder / "shards" / f"{start // per_archive:05}.tar", "w") as archive:
            for number in range(start, min(start + per_archive, count)):
                coarse = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
                coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(file := io.BytesIO(), "jpeg", quality=85)
                info = tarfile.TarInfo(f"{number:06}.jpg")
                info.size = len(file.getvalue())
                archive.addfile(info, io.BytesIO(file.getvalue()))
                (folder / "files" / info.name).write_bytes(file.getvalue())


@contextmanager
def cluster(machines: int) -> Iterator[str]:
    """The address of a cluster of so many machines with one core each."""
    load_ray()
    from ray.cluster_utils import Cluster

    plain = {"num_gpus": 0, "object_store_memory": 2 * 2**30, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args={**plain, "num_cpus": 0})
    try:
        for _ in range(machines):
            nodes.add_node(**plain, num_cpus=1)
        yield str(nodes.address)
    finally:
        nodes.shutdown()


def command(artifact: Path, images: str, out: Path, *options: str) -> list[str]:
    """The line that predicts on the CPU, and tells what it did as JSON."""
    line = [sys.executable, "-m", "noah_cli", "predict", str(artifact), images, "--out", str(out)]
    return [*line, "--provider", "cpu", "--threads", "1", "--json", *options]


def predicted(line: list[str]) -> dict[str, Any]:
    """Run such a line, and give what it told."""
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(line)}\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def rows(files: list[Path]) -> list[tuple[str, str, float]]:
    """The name of the image, label and probability of each row."""
    tables = [parquet.read_table(file).to_pylist() for file in files]
    return [(Path(row["path"]).name, row["label"], row["probability"]) for table in tables for row in table]


def compare(alone: list[tuple[str, str, float]], found: list[tuple[str, str, float]]) -> dict[str, int]:
    """Count what is missing, doubled, or labeled otherwise."""
    times = Counter(name for name, _, _ in found)
    labels = {name: (label, probability) for name, label, probability in found}
    different = 0
    for name, label, probability in alone:
        other, of_other = labels.get(name, (label, probability))
        different += other != label and abs(of_other - probability) > _TIE
    return {
        "missing": sum(name not in times for name, _, _ in alone),
        "doubled": sum(count - 1 for count in times.values()),
        "different": different,
    }


def written(out: Path) -> dict[str, int]:
    """The parts that are there, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("part-*.parquet")}


def kill_and_go_on(artifact: Path, shards: str, out: Path, address: str, parts: int) -> dict[str, Any]:
    """Kill a run once a third of its parts is there, and repeat its line."""
    line = command(artifact, shards, out, "--ray", address)
    started = time.perf_counter()
    first = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(written(out)) < parts / 3 and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = written(out)
    killed_after = time.perf_counter() - started
    told = predicted(line)
    after = written(out)
    return {
        "killed_after_s": round(killed_after, 1),
        "parts_before": len(before),
        "parts": told["parts"],
        "continued_s": round(time.perf_counter() - started - killed_after, 1),
        "written_twice": sum(after[name] != at for name, at in before.items()),
    }


def main() -> None:
    """Write the images, predict them in every way, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--per-archive", type=int, default=500)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 3])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="noah-") as name:
        folder = Path(name)
        write_images(folder, arguments.images, arguments.per_archive)
        shards, parts = str(folder / "shards"), -(-arguments.images // arguments.per_archive)
        told = predicted(command(arguments.artifact, str(folder / "files"), folder / "alone.parquet"))
        result: dict[str, Any] = {"images": told["images"], "alone_per_s": round(told["images_per_second"], 1)}
        alone = rows([folder / "alone.parquet"])
        wrong = 0
        for machines in arguments.machines:
            with cluster(machines) as address:
                out = folder / f"labels-{machines}"
                told = predicted(command(arguments.artifact, shards, out, "--ray", address))
                checked = compare(alone, rows(sorted(out.glob("part-*.parquet"))))
                wrong += sum(checked.values())
                result[f"machines_{machines}"] = {"per_s": round(told["images_per_second"], 1), **checked}
                if machines == max(arguments.machines):
                    out = folder / "killed"
                    killed = kill_and_go_on(arguments.artifact, shards, out, address, parts)
                    checked = compare(alone, rows(sorted(out.glob("part-*.parquet"))))
                    wrong += sum(checked.values()) + killed["written_twice"]
                    result["killed"] = {**killed, **checked}
    print(json.dumps(result))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
