"""Everything that is to be known of noah on a GPU, in one go: tests marked `gpu`, and what `benchmarks.gpu` measures.

    make gpu
    python -m benchmarks.gpu_kit [--device cuda] [--minutes 9] [--out gpu]

Runs the parts in `parts`, one after the other, each in a process of its own, and leaves no later than after --minutes.
What was finished is kept in OUT/parts, and the same command goes on with the rest, unless the code, torch or the card
has changed since. At the end, whatever is known lies in OUT/CARD.json and, as a table, in OUT/CARD.md.

--device cpu is the dry run, which runs the same code on a tiny backbone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import STOPPED, why_no_cuda
from benchmarks.program import PROGRAM_HEAD, program_rows
from benchmarks.step_tables import STEPS_HEAD, lines_of, operations_rows, rows_of
from benchmarks.steps import device_name
from noah.files.atomic import write_json, write_text

ROOT = Path(__file__).parents[1]
MEASURED, TESTED = ("noah", "benchmarks"), ("export", "tests")
"""The code that figures depend on, and what only tests use."""
TESTS_CODE = "code of the tests"
ALL_PASSED, SOME_FAILED, NONE_LEFT = 0, 1, 5
"""pytest's exit codes after the last test; the last one where an earlier call has run all of them."""
TESTS = "tests.jsonl"
"""The file to which tests/gpu/conftest.py adds a line for each test."""
LEAST_SECONDS = 10.0
"""A part is not begun with less time than this."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the kit.

    Attributes:
        name: What it is called.
        command: What runs it; a benchmark is told the minutes that it has, too.
        share: The most that it may take of the time that is left when it begins.
        ends_with: Exit codes after which it is not run again.
        variables: Of its environment.
    """

    name: str
    command: list[str]
    share: float
    ends_with: tuple[int, ...] = (0,)
    variables: dict[str, str] = field(default_factory=dict)


def main() -> None:
    """Run what is left to do, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--out", type=Path, default=Path("gpu"))
    arguments = parser.parse_args()
    started = time.monotonic()
    if arguments.device == "cuda" and (problem := why_no_cuda()):
        sys.exit(f"{problem} The dry run on the CPU is: make gpu DEVICE=cpu")
    folder = arguments.out.absolute() / "parts"
    card = device_name(torch.device(arguments.device))
    code = {"code": fingerprint(*MEASURED), TESTS_CODE: fingerprint(*TESTED)}
    origin = {"device": card, "torch": torch.__version__, **code}
    begin(folder, origin)
    unfinished = run_parts(parts(arguments.device, folder), folder, started + 60 * arguments.minutes)
    seconds = spent(folder, time.monotonic() - started)
    found = report(folder, card, unfinished, seconds)
    path = arguments.out / re.sub(r"[^A-Za-z0-9.]+", "-", card).strip("-")
    write_json(path.with_name(f"{path.name}.json"), found)
    write_text(path.with_name(f"{path.name}.md"), table(found))
    print(table(found))
    print(f"written to {path}.json and {path}.md")
    if unfinished:
        print(f"left to do: {', '.join(unfinished)}; the same command goes on with it.")
    failed = [test["test"] for test in found["tests"] if test["outcome"] == "failed"]
    sys.exit(STOPPED if unfinished else bool(failed))


def parts(device: str, folder: Path) -> list[Part]:
    """What the kit does, in this order; on the CPU with a tiny backbone."""
    benchmark = [sys.executable, "-m", "benchmarks.gpu", f"--device={device}", f"--out={folder}"]
    benchmark += ["--tiny"] if device == "cpu" else ["--model=vit-b16-224", "--space=paper,wide"]
    tests = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--timeout=150", "tests/gpu"]
    variables = {"NOAH_TEST_DEVICE": device, "NOAH_TEST_RECORD": str(folder / TESTS)}
    # Tiny networks gain nothing from threads, and lose much where other programs run.
    threads = {"OMP_NUM_THREADS": "1"} if device == "cpu" else {}
    return [
        Part("tests", tests, 0.4, (ALL_PASSED, SOME_FAILED, NONE_LEFT), variables | threads),
        Part("steps", [*benchmark, "--parts=steps"], 0.5, variables=threads),
        Part("recipe", [*benchmark, "--parts=recipe"], 1.0, variables=threads),
        Part("program", [*benchmark, "--parts=program"], 0.6, variables=threads),
        Part("compiled", [*benchmark, "--parts=compiled"], 1.0, variables=threads),
    ]


def fingerprint(*rooms: str, root: Path = ROOT) -> str:
    """A hash of all code in these folders."""
    files = [path for room in rooms for path in (root / room).rglob("*.py")]
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return found.hexdigest()


def begin(folder: Path, origin: dict[str, str]) -> None:
    """Make the folder of the parts, or remove what was found with another code, torch or card."""
    record = folder / "origin.json"
    known = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    if changed := [name for name in origin if known and known.get(name) != origin[name]]:
        print(f"begun anew, because of another {' and another '.join(changed)} than in {folder}", flush=True)
        if changed == [TESTS_CODE]:  # the figures still hold
            for path in (folder / TESTS, folder / "tests.done"):
                path.unlink(missing_ok=True)
        else:
            shutil.rmtree(folder)
    write_json(record, origin)


def run_parts(all_parts: list[Part], folder: Path, ends: float) -> list[str]:
    """Run the parts that are not finished; gives the names of those that still are not.

    Args:
        all_parts: In the order in which they are run.
        folder: Where they leave what they find, and a file for each that is finished.
        ends: When to stop, by `time.monotonic`.
    """
    unfinished = []
    for part in all_parts:
        done = folder / f"{part.name}.done"
        if done.exists():
            continue
        left = ends - time.monotonic()
        if left < LEAST_SECONDS:
            unfinished.append(part.name)
            continue
        print(f"\n== {part.name}, at most {part.share * left:.0f} s", flush=True)
        code = run_part(part, part.share * left)
        if code in part.ends_with:
            done.touch()
        else:
            why = "out of time" if code in (None, STOPPED) else f"exit code {code}"
            print(f"\n== {part.name} is not finished: {why}", flush=True)
            unfinished.append(part.name)
    return unfinished


def run_part(part: Part, seconds: float) -> int | None:
    """Run one part; gives its exit code, or None where it had to be killed after these seconds."""
    minutes = [f"--minutes={0.9 * seconds / 60:.3f}"] if "benchmarks.gpu" in part.command else []
    environment = os.environ | part.variables
    process = subprocess.Popen([*part.command, *minutes], cwd=ROOT, env=environment, start_new_session=True)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:  # out of time, or interrupted
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def report(folder: Path, card: str, unfinished: list[str], seconds: float) -> dict[str, Any]:
    """Collect what the parts have found so far.

    Args:
        folder: Where they left it.
        card: The name of the GPU.
        unfinished: The parts that are not finished.
        seconds: How long the parts took, all calls together.
    """

    def read(name: str) -> Any:
        path = folder / name
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    outcomes: dict[str, dict[str, Any]] = {}
    if (folder / TESTS).is_file():
        for line in (folder / TESTS).read_text(encoding="utf-8").splitlines():
            test = json.loads(line)
            outcomes[test["test"]] = test  # of one that was run again, the last
    names = sorted(path.name for path in folder.glob("*-*.json"))
    return {
        "card": card,
        "seconds": round(seconds, 1),
        "unfinished": unfinished,
        "facts": read("device.json"),
        "tests": list(outcomes.values()),
        "steps": [read(name) for name in names if not name.endswith("-compiled.json")],
        "compiled": [read(name) for name in names if name.endswith("-compiled.json")],
        "recipe": read("recipe.json"),
        "program": read("program.json"),
    }


def table(found: dict[str, Any]) -> str:
    """Lay out the report in Markdown."""
    facts = found["facts"] or {}
    lines = [f"# {found['card']}", ""]
    if facts:
        known = {
            "GiB of memory": facts.get("memory_gib"),
            "compute capability": facts.get("capability"),
            "CUDA": facts.get("cuda"),
            "torch": facts["versions"].get("torch"),
            "timm": facts["versions"].get("timm"),
            "precision": facts["precision"],
            "TFLOP/s in bfloat16 by the data sheet": facts["published_tflops"],
            "TFLOP/s of a large product, measured": f"{facts['measured_tflops']:.3g}",
        }
        lines += [*lines_of(["of this machine", ""], [[key, str(value)] for key, value in known.items() if value]), ""]
    counts = Counter(test["outcome"] for test in found["tests"])
    lines += ["Tests: " + (", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "none was run"), ""]
    told = [[test["test"], test["outcome"], test["why"]] for test in found["tests"] if test["outcome"] != "passed"]
    lines += [*lines_of(["test", "outcome", "why"], told), ""] if told else []
    for title, results in (("Steps", found["steps"]), ("With compiled blocks", found["compiled"])):
        if results:
            sizes = f"{results[0]['batch_size']} images a step, medians of {results[0]['rounds']} rounds"
            lines += [
                f"{title}: {sizes}",
                "",
                *lines_of(STEPS_HEAD, [row for each in results for row in rows_of(each)]),
            ]
            lines += [
                "",
                *lines_of(*operations_rows(results, facts.get("published_tflops"), facts.get("measured_tflops"))),
                "",
            ]
    if recipe := found["recipe"]:
        rows = [[stage, f"{recipe[stage]:.0f}"] for stage in ("supernet", "search", "retrain", "total")]
        work = (
            f"{recipe['supernet_epochs']} epochs of the supernet, {recipe['candidates']} candidates, "
            f"{recipe['retrain_epochs']} epochs of the winner"
        )
        lines += [f"The recipe for one VTAB task ({recipe['model']}): {work}", ""]
        lines += [*lines_of(["stage", "seconds"], rows), ""]
    if program := found["program"]:
        sizes = f"{program['batch_size']} images, medians of {program['rounds']} rounds"
        title = f"A winner as a program of torch.export ({program['model']}), weights in float32: {sizes}"
        lines += [title, "", *lines_of(PROGRAM_HEAD, program_rows(program)), ""]
    left = f"; left to do: {', '.join(found['unfinished'])}" if found["unfinished"] else ""
    lines.append(f"All parts together took {found['seconds']:.0f} s{left}.")
    return "\n".join(lines) + "\n"


def spent(folder: Path, seconds: float) -> float:
    """Add the seconds of this call to those of earlier ones; gives the sum."""
    path = folder / "spent.json"
    total = seconds + (json.loads(path.read_text(encoding="utf-8")) if path.is_file() else 0.0)
    write_json(path, total)
    return float(total)


if __name__ == "__main__":
    main()
