"""The script that starts Ray in a Slurm job: bash can read it, and with programs that only note how they were called it
asks for a head, for the others, and for the command, in this order. No Slurm was at hand to run it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "examples" / "slurm_ray.sh"


def test_bash_reads_it() -> None:
    done = subprocess.run(["bash", "-n", str(SCRIPT)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("machines", "joined"), [(["a"], []), (["a", "b", "c"], ["--nodes=2 --nodelist=b,c"])])
def test_what_it_starts_where(tmp_path: Path, machines: list[str], joined: list[str]) -> None:
    calls = tmp_path / "calls"
    programs = {
        "scontrol": f"printf '%s\\n' {' '.join(machines)}",
        "srun": f'echo "$@" >> {calls}; case "$*" in *"hostname --ip-address") echo 10.0.0.1 fe80::1;; esac',
    }
    for name, body in programs.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    done = subprocess.run(
        ["bash", str(SCRIPT), "noah", "recipes"],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SLURM_JOB_NODELIST": "x",
            "SLURM_JOB_ID": "40001",
            "SLURM_CPUS_PER_TASK": "8",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = calls.read_text().splitlines()
    starts = [line for line in lines if "ray start" in line]
    assert any("--nodelist=a" in line and "--head --node-ip-address=10.0.0.1 --port=20001" in line for line in starts)
    others = [line for line in starts if "--address=10.0.0.1:20001" in line]
    assert len(others) == len(joined)
    for line, parts in zip(others, joined, strict=True):
        assert all(part in line for part in parts.split())
    assert [line for line in lines if line.endswith("RAY_ADDRESS=10.0.0.1:20001 noah recipes")]
