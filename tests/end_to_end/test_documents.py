"""Every `noah` line that README.md and docs/*.md show runs as written, in the order of the page.

Only sizes are small: few images in the published layouts, few epochs, narrow networks. docs/tutorial.md has a test of
its own.
"""

from __future__ import annotations

import io
import json
import re
import runpy
import shlex
import shutil
import sys
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import export.checks.bench
import noah
from noah.backbone.architecture import Architecture
from noah.backbone.load import DEFAULT_BACKBONE
from noah.benchmark.rows import read_rows
from noah.benchmark.suites import VTAB
from noah.hardware.gpu import why_no_gpu
from tests.commands import PROJECT, file_contents, noah_line, write_settings
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE
from tests.documents import document_names, labels, read_document, shown_labels, shown_lines
from tests.few_shot import write_few_shot, write_imagenet, write_variant
from tests.finished import NAME, Finished
from tests.noah.cost.test_latency_timing import count_work
from tests.vtab import write_vtab

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),  # a page is up to thirty real commands: two minutes here, five on a processor with AVX2
]

ELSEWHERE = {"tutorial.md", "cluster.md"}
"""Documents whose lines tests/test_tutorial.py runs; and those for several machines, of which none is at hand: what its
commands do is run on nodes of one machine by tests/noah/benchmark, tests/noah/stages and tests/noah/api."""
PROGRAMS = r"noah|python examples/\S+"
WIDTH = 48
"""Of the backbones of the hub: 4 for each of the 12 heads of a ViT-B."""
TRAINING = {"epochs": 1, "batch_size": 100, "learning_rate": 3e-3, "warmup_epochs": 0}
TINY: dict[str, Any] = {
    "data": {"validation_fraction": 0.05},  # 50 images of digits
    "supernet": TRAINING,
    "search": {"generations": 1, "population": 4, "parents": 2, "mutations": 2, "crossovers": 2},
    "retrain": TRAINING,
}
"""The settings file of the working folder, which stands over the recipe and under the command line."""
ON_ONE_CORE = {"device": "cpu", "precision": "fp32", "threads": 1}

MEASURED = (Path("docs/pocket"), Path("docs/few_shot"))
"""Where the results of docs/pocket.md are."""

Prepare = Callable[[Path, pytest.FixtureRequest], None]


def nothing(*_: object) -> None:
    """A page that needs no files, or promises none."""


@dataclass(frozen=True)
class Page:
    """What a document takes for granted.

    Attributes:
        prepare: Fills the working folder.
        fails: The lines that cannot succeed here, with the exit code and words of what is printed.
        needs_gpu: Whether they can where a GPU is.
        check: Looks at what the lines have left in the folder, where the page promises something of it.
    """

    prepare: Prepare
    fails: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    needs_gpu: bool = False
    check: Callable[[Path], None] = nothing


def write_tiny(folder: Path, backbone: Mapping[str, Any], **more: Any) -> None:
    write_settings(folder, TINY | {"backbone": {"image_size": TINY_IMAGE_SIZE, **backbone}} | more)


def use_file(folder: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The backbone of a file, whose work and speed are those of its architecture."""
    shutil.copy(request.getfixturevalue("tiny_backbone_file"), folder / "tiny.safetensors")
    return {"name": "tiny.safetensors", "architecture": TINY_ARCHITECTURE}


def prepare_data(folder: Path, request: pytest.FixtureRequest) -> None:
    """Photos with a table beside their folders, the same in two shards, others of a later year, and a run."""
    write_tiny(folder, use_file(folder, request), hardware=ON_ONE_CORE)
    shutil.copytree(request.getfixturevalue("photo_folder"), folder / "photos")
    shutil.copytree(folder / "photos", folder / "elsewhere" / "photos")
    shutil.copytree(folder / "photos" / "test", folder / "photos-of-2025")
    assert noah_line("noah retrain --subnet lora:2 --data photos --name first").code == 0
    images = sorted((folder / "photos" / "train").rglob("*.png"))
    lines = [f"{path.relative_to(folder / 'photos')},{path.parent.name},{path.stem}" for path in images]
    (folder / "photos" / "labels.csv").write_text("\n".join(["file,shape,sheet", *lines]), encoding="utf-8")
    (folder / "shards").mkdir()
    for number in range(2):
        with tarfile.open(folder / "shards" / f"train-{number:03}.tar", "w") as shard:
            for index, path in enumerate(images[number::2]):
                label = path.parent.name.encode()
                info = tarfile.TarInfo(f"{index:04}.cls")
                info.size = len(label)
                shard.addfile(info, io.BytesIO(label))
                shard.add(path, f"{index:04}.png")


def prepare_demo(folder: Path, _: pytest.FixtureRequest) -> None:
    # The page shows what is said of the hardware where that is left to noah.
    write_tiny(folder, {"name": DEFAULT_BACKBONE})


def prepare_readme(folder: Path, request: pytest.FixtureRequest) -> None:
    write_tiny(folder, {"name": DEFAULT_BACKBONE}, hardware=ON_ONE_CORE)
    photos = request.getfixturevalue("photo_folder")
    shutil.copytree(photos, folder / "my_photos")
    shutil.copytree(photos / "test" / "circle", folder / "more_photos")
    write_vtab(folder / "data" / "vtab-1k" / "cifar")


def prepare_deploy(folder: Path, request: pytest.FixtureRequest) -> None:
    finished: Finished = request.getfixturevalue("finished")
    finished.copy(folder)
    shutil.copytree(request.getfixturevalue("photo_folder") / "test", folder / "photos")


def check_deploy(folder: Path) -> None:
    """The folders that the page names are there, and its torch reads one."""
    text = read_document("deploy.md")
    (named,) = re.findall(r"Folders are named after what they hold: (.*?)\. ", text)
    for name in re.findall("`(.*?)`", named):
        assert (folder / "runs" / NAME / "export" / name / "manifest.json").is_file()
    (path,) = re.findall(r'^    model = noah\.load\("(.*?)"\)', text, flags=re.MULTILINE)
    assert noah.load(path.replace("digits/ID", NAME)).classes == ("circle", "square", "stripes")


def prepare_pocket(folder: Path, _: pytest.FixtureRequest) -> None:
    for results in MEASURED:
        shutil.copytree(PROJECT / results, folder / results)


def check_pocket(folder: Path) -> None:
    """All rows were there, so that nothing was left to do, and the tables are the same again."""
    for results in MEASURED:
        assert file_contents(folder / results) == file_contents(PROJECT / results)


def prepare_reliability(folder: Path, request: pytest.FixtureRequest) -> None:
    write_tiny(folder, use_file(folder, request), hardware=ON_ONE_CORE)
    assert noah_line("noah search --dataset digits --run first").code == 0
    finished: Finished = request.getfixturevalue("finished")
    finished.copy(folder)  # its run is the latest now


def check_reliability(folder: Path) -> None:
    """The same bytes, as the page says."""
    first, again = sorted((folder / "runs" / "digits").iterdir(), key=lambda run: run.name != "first")
    for name in ("candidates.jsonl", "best.json"):
        assert (first / "search" / name).read_bytes() == (again / "search" / name).read_bytes()


def prepare_reproducing(folder: Path, _: pytest.FixtureRequest) -> None:
    write_tiny(folder, {}, hardware=ON_ONE_CORE)
    data = folder / "data"
    write_vtab(data / "vtab-1k" / "cifar")
    write_few_shot(data / "few-shot" / "food101", shots=(16,))
    write_imagenet(data / "imagenet", shots=16, validation=4)
    for number, name in enumerate(("imagenetv2", "imagenet-sketch", "imagenet-a", "imagenet-r")):
        write_variant(data / "domain-generalization" / name, name, (number % 2, 3))


def check_reproducing(folder: Path) -> None:
    """Five methods with three seeds, of the one task whose data is there."""
    assert len(read_rows(folder / "benchmarks" / "vtab", VTAB)) == 5 * 3


def prepare_search(folder: Path, request: pytest.FixtureRequest) -> None:
    # Some seeds and few candidates leave one subnet on the Pareto front, and the page takes the second; here are six.
    search = {**TINY["search"], "population": 6}
    write_tiny(folder, use_file(folder, request), hardware=ON_ONE_CORE, seed=2, search=search)
    shutil.copytree(request.getfixturevalue("photo_folder"), folder / "photos")


ENGINE = (1, "is a TensorRT engine, which needs an NVIDIA GPU")
PAGES = {
    "README.md": Page(prepare_readme),
    "data.md": Page(prepare_data),
    "demo.md": Page(prepare_demo),
    "deploy.md": Page(
        prepare_deploy,
        {
            "noah eval runs/latest/export/trt-fp16": ENGINE,
            "noah predict runs/latest/export/trt-fp16 photos/ --out predictions.csv": ENGINE,
        },
        needs_gpu=True,
        check=check_deploy,
    ),
    "pocket.md": Page(prepare_pocket, check=check_pocket),
    "reliability.md": Page(prepare_reliability, check=check_reliability),
    "reproducing.md": Page(
        prepare_reproducing,
        {
            "noah benchmark vtab --methods noah,lora:8,adapter:8,prompt:50,linear --seeds 0,1,2": (
                1,
                "dtd linear seed 2: No VTAB-1k folder dtd with train800.txt lies in data",
            )
        },
        check=check_reproducing,
    ),
    "search.md": Page(prepare_search),
    "troubleshooting.md": Page(nothing),
}


def narrow_from_hub(architecture: Architecture, image_size: int | None) -> Any:
    """What the hub has of that name, untrained and narrow: the same architecture with as many blocks and heads."""
    import timm
    import torch

    assert architecture.name in timm.list_pretrained(), architecture.name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(
            architecture.name, num_classes=0, img_size=image_size, embed_dim=WIDTH, **architecture.arguments
        )
    return model, []


@pytest.fixture
def folder(tmp_path: Path, one_thread: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; no command reads from the network, or waits for or decides by a clock."""
    measure = export.checks.bench.measure

    def measure_briefly(*arguments: Any, seconds: float, **options: Any) -> Any:
        assert seconds > 0
        return measure(*arguments, seconds=0, **options)

    monkeypatch.setattr("noah.backbone.load.load_timm_weights", narrow_from_hub)
    monkeypatch.setattr("noah.cost.latency_timing.measure_table.__defaults__", (count_work,))
    monkeypatch.setattr(export.checks.bench, "measure", measure_briefly)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", PAGES)
def test_every_line_runs_as_written(
    document: str, folder: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, text = PAGES[document], read_document(document)
    lines = shown_lines(text, PROGRAMS)
    assert page.fails.keys() <= set(lines), "a line that is prepared for is not on the page any more"
    page.prepare(folder, request)
    for line in lines:
        if line.startswith("python "):
            run_example(line, monkeypatch)
            continue
        code, words = expected(page, line, folder)
        outcome = noah_line(line)
        printed = outcome.out + outcome.err
        if code and page.needs_gpu and not why_no_gpu():
            assert outcome.code == 0 or "model.engine does not run here: it was built for" in printed, printed
            continue
        assert outcome.code == code, f"{line}\n{printed}"
        assert words in " ".join(printed.split()), f"{line}\n{printed}"
        if why_no_gpu():  # as where the pages were written; a GPU is told in other words
            assert shown_labels(text, line) <= labels(printed), line
    page.check(folder)


def expected(page: Page, line: str, folder: Path) -> tuple[int, str]:
    """The exit code of a line, and words of what it prints."""
    if "--subnet pareto:2" in line:
        front = folder / "runs" / (folder / "runs" / "latest").read_text().strip() / "search" / "pareto.json"
        if len(json.loads(front.read_text())) == 1:  # few candidates, and figures that differ from machine to machine
            return 2, "has the subnets 1 to 1"
    return page.fails.get(line, (0, ""))


def run_example(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script of examples/ in this process."""
    _, script, *arguments = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(PROJECT / script), run_name="__main__")


def test_every_document_that_shows_a_line_is_here() -> None:
    assert {name for name in document_names() if shown_lines(read_document(name))} == PAGES.keys() | ELSEWHERE


@pytest.mark.parametrize("document", document_names())
def test_only_noah_is_given_the_latest_run(document: str) -> None:
    """`runs/latest` is a text file, so that a path through it leads other programs nowhere."""
    code = re.findall(r"^    .*runs/latest/.*$", read_document(document), flags=re.MULTILINE)
    assert [line for line in code if not re.match(r" +(?:\$ )?noah ", line)] == []
