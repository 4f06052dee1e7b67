"""Ray stays outside: without the package `--ray` says what to install, and only this room ever imports it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from noah.cluster.session import check_place, connect, end_actors
from noah.errors import UsageError
from noah.progress import Silent

ROOT = Path(__file__).parents[3]
BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "ray":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)


def test_without_ray_it_says_what_to_install() -> None:
    done = python(
        BLOCKED
        + """
from noah.cluster import reports, resources, tasks
from noah.cluster.session import connect
from noah.errors import MissingPackageError
from noah.progress import Silent
try:
    with connect("local", Silent()):
        pass
except MissingPackageError as error:
    print(error)
"""
    )
    assert (done.stdout, done.stderr) == (
        "--ray needs the package ray, which is not installed.\nType: pip install 'noah-prompt-search[ray]'\n",
        "",
    )


def test_importing_the_room_does_not_import_ray() -> None:
    done = python(
        "import sys\nfrom noah.cluster import reports, resources, session, tasks\n"
        "print(sorted(name for name in sys.modules if name.partition('.')[0] in ('ray', 'torch')))"
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_nobody_else_imports_ray() -> None:
    importers = set()
    for package in ("noah", "export", "noah_cli"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [str(node.module)] if isinstance(node, ast.ImportFrom) and not node.level else []
                if any(name.partition(".")[0] == "ray" for name in names):
                    importers.add(path.relative_to(ROOT).parent.as_posix())
    assert importers == {"noah/cluster"}


@pytest.mark.parametrize("where", ["local", "auto", "10.0.0.1:6379", "head-node.cluster:6379", "[::1]:6379"])
def test_where_ray_runs(where: str) -> None:
    check_place(where)


@pytest.mark.parametrize("where", ["", "locally", "ray://10.0.0.1:10001", "10.0.0.1", "pocket", "auto "])
def test_where_it_does_not(where: str) -> None:
    with pytest.raises(UsageError, match="not a place where Ray runs"):
        check_place(where)


def test_no_cluster_to_join() -> None:
    """Nothing listens there, and that is told at once."""
    for address in ("127.0.0.1:1", "[::1]:1", "127.0.0.1:99999"):
        with pytest.raises(UsageError, match="belongs to no Ray cluster that answers"), connect(address, Silent()):
            pass


@pytest.mark.parametrize("joined", [True, False])
def test_actors_are_ended_only_while_the_cluster_is_joined(joined: bool) -> None:
    killed = []

    def kill(actor: str) -> None:
        killed.append(actor)
        if actor == "gone":
            raise ValueError("it is gone")

    end_actors(SimpleNamespace(is_initialized=lambda: joined, kill=kill), ["gone", "there"])
    assert killed == (["gone", "there"] if joined else [])
