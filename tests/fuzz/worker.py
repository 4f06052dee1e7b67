"""Reads damaged files one after the other, and says of each how that ended.

    python -m tests.fuzz.worker SEED SHARE READER...

in a folder that holds a copied run. A line of JSON is written before each input and after it, so that whoever started
this process knows which input ended or hung it. Inputs are made here, from a seed, the reader's name and a number.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz import attacks
from tests.fuzz.mutation import damage, damage_json, damage_line
from tests.fuzz.readers import READERS, Reader

SPARE_BYTES = 4 * 2**30
"""Address space beyond what the libraries take; a reader that asks for all of it is found."""
LARGEST_RISE = 2 * 2**30
"""Resident bytes that reading one file may take."""


def inputs(reader: Reader, seed: int, share: float) -> Iterator[tuple[str, bytes]]:
    """(name of the file, content) of every input of a reader: real files, attacks, then damaged real files."""
    seeds = list(reader.seeds())
    yield from seeds
    if share >= 1:
        for name in reader.attacks:
            for content in getattr(attacks, name)():
                yield _name(seeds[0][0], content), content
    count = round(80 * share * reader.share)
    for number in range(count):
        rng = Random(f"{seed}/{reader.name}/{number}")
        name, content = rng.choice(seeds)
        if reader.kind == "json" and rng.random() < 0.7:
            yield name, damage_json(content, rng)
        elif reader.kind == "lines" and rng.random() < 0.7:
            yield name, damage_line(content, rng)
        else:
            yield name, damage(content, rng, is_text=reader.kind != "bytes")


def _name(usual: str, content: bytes) -> str:
    """A compressed tar archive is read by its own suffix."""
    return "archive.tar.gz" if usual == "archive.tar" and content[:2] == b"\x1f\x8b" else usual


def judge(reader: Reader, name: str, content: bytes) -> dict[str, object]:
    """Read one input and say how it ended: "read", "refused" with a NoahError, or "defect"."""
    from noah.errors import NoahError

    path = (reader.home or Path("inbox")) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.is_file() else None
    path.write_bytes(content)
    _forget_peak()
    resident, started = _status("VmRSS"), time.perf_counter()
    ended, account = "read", ""
    try:
        with contextlib.redirect_stdout(None), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except NoahError as error:
        ended, account = "refused", str(error)
        if _asked_for_too_much(error):
            ended, account = "defect", f"it asked for more than {SPARE_BYTES:,} bytes: {_chain(error)}"
        elif not error.problem.strip():
            ended, account = "defect", "the error says nothing"
    except Exception:
        ended, account = "defect", traceback.format_exc()[-1500:]
    seconds, rise = time.perf_counter() - started, _status("VmHWM") - resident
    if rise > LARGEST_RISE:
        ended, account = "defect", f"it took {rise:,} bytes; {account}"
    if Path(os.environ[attacks.MARK]).exists():
        ended, account = "defect", "code in the file ran"
    if before is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(before)
    return {"ended": ended, "account": account, "seconds": seconds, "bytes": max(rise, 0)}


def _asked_for_too_much(error: BaseException | None) -> bool:
    while error is not None:
        text = str(error).lower()
        if isinstance(error, MemoryError) or "allocate memory" in text or "can't allocate" in text:
            return True
        error = error.__cause__ or error.__context__
    return False


def _chain(error: BaseException | None) -> str:
    found = []
    while error is not None:
        found.append(f"{type(error).__name__}: {error}"[:300])
        error = error.__cause__ or error.__context__
    return " <- ".join(found)


def _status(name: str) -> int:
    """A number of bytes from this process's status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _forget_peak() -> None:
    """Let the highest resident size begin at the present one."""
    Path("/proc/self/clear_refs").write_text("5")


def main(seed: int, share: float, names: list[str]) -> None:
    """Read every input of the named readers; a name may be followed by # and the number of the first input."""
    import torch

    torch.set_num_threads(1)
    for part in names:
        name, _, first = part.partition("#")
        reader = READERS[name]
        with contextlib.suppress(Exception):  # the libraries that it needs count for nothing
            for seed_name, content in list(reader.seeds())[:1]:
                judge(reader, seed_name, content)
        limit = _status("VmSize") + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        for number, (file, content) in enumerate(inputs(reader, seed, share)):
            if number < int(first or 0):
                continue
            print(json.dumps({"reader": name, "number": number, "file": file}), flush=True)
            print(json.dumps(judge(reader, file, content)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
