"""The start or joining of a Ray cluster, and its end."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from noah.cluster.resources import Resources
from noah.errors import MissingPackageError, NoahError, UsageError, system_cause
from noah.hardware.cores import usable_cores
from noah.progress import Listener, counted

HERE = "local"
"""Start Ray on this machine, for as long as the command runs."""
JOIN = "auto"
"""Join the cluster that this machine belongs to."""
PLACES = re.compile(rf"{HERE}|{JOIN}|[\w.\-]+:[0-9]{{1,5}}|\[[0-9a-fA-F:]+\]:[0-9]{{1,5}}")
"""What may follow `--ray`; an address is that of the head of a cluster that this machine belongs to."""
_LOGS = "Look at the logs in /tmp/ray, or do without --ray; noah and Ray have to be the same versions on all machines."
MOMENT = 0.5
"""Seconds after which machines are looked for again, and progress is shown."""
_ANSWERS_WITHIN = 10.0
"""Seconds for the head of a cluster to answer."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anyone
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or every start warns of a change in a later version
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the cluster that is there now.

    Attributes:
        id: Ray's name for it, which no other machine of the cluster ever had.
        name: Its name or address, for people.
        resources: What it has in all, in Ray's words: CPU, GPU, memory (bytes) and others.
    """

    id: str
    name: str
    resources: dict[str, float]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that this process has joined; it is the driver, which hands out work and decides.

    Attributes:
        ray: The module ray, for `noah.cluster` alone.
        own: Whether this process started it and ends it.
    """

    ray: Any
    own: bool

    def machines(self) -> tuple[Machine, ...]:
        """The machines that are there now, the driver's included."""
        return tuple(
            Machine(node["NodeID"], node["NodeManagerHostname"] or node["NodeManagerAddress"], dict(node["Resources"]))
            for node in self.ray.nodes()
            if node["Alive"]
        )

    def gpus(self) -> float:
        """How many GPUs the machines have together."""
        return sum(machine.resources.get("GPU", 0.0) for machine in self.machines())


def end_actors(ray: Any, actors: Iterable[Any]) -> None:
    """End actors at once; those that are gone already are skipped.

    Once the cluster was left, nothing happens: all that this process started there has ended, and Ray would start or
    join another one to look for them.
    """
    for actor in actors if ray.is_initialized() else ():
        with suppress(Exception):  # one whose machine is gone
            ray.kill(actor)


class Machines:
    """The machines as they were a moment ago, and the names of those that are gone.

    Args:
        cluster: Asked again once what it said is older than `MOMENT` seconds.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._names: dict[str, str] = {}
        self._looked = float("-inf")
        self._there: tuple[Machine, ...] = ()

    def there(self, *, now: bool = False) -> tuple[Machine, ...]:
        """The machines that are there.

        Args:
            now: Ask, however short ago that was done.
        """
        if now or time.monotonic() - self._looked >= MOMENT:
            self._there, self._looked = self._cluster.machines(), time.monotonic()
            self._names |= {machine.id: machine.name for machine in self._there}
        return self._there

    def name(self, identifier: str) -> str:
        """A machine's name with the first letters of Ray's own, because several may have the same."""
        return f"{self._names.get(identifier, 'a machine')} ({identifier[:6]})" if identifier else "a machine"


def count_slots(machines: Iterable[Machine], resources: Resources) -> int:
    """How many tasks with these resources the machines can run at once."""
    return sum(resources.fit(machine.resources) for machine in machines)


def load_ray() -> Any:
    """Import Ray, with its reports to its makers off.

    Raises:
        MissingPackageError: If it is not installed.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "--ray needs the package ray, which is not installed.", "Type: pip install 'noah-prompt-search[ray]'"
        ) from error
    return ray


def check_place(where: str) -> None:
    """Refuse what is no place for `--ray`.

    Raises:
        UsageError: If it is not `local`, `auto` or an address such as 10.0.0.1:6379.
    """
    if not PLACES.fullmatch(where):
        raise UsageError(
            f"--ray {where}: not a place where Ray runs.",
            "Write --ray alone for this machine, --ray auto for the cluster that it belongs to, or HEAD:6379.",
        )


@contextmanager
def connect(where: str, listener: Listener) -> Iterator[Cluster]:
    """Start Ray on this machine or join a cluster, until the `with` block ends.

    A cluster that this process started ends with it, and so does everything that it runs. In one that was joined, all
    that this process started there ends.

    Args:
        where: `HERE`, `JOIN`, or the address of the head of the cluster that this machine belongs to.
        listener: Told which machines there are.

    Raises:
        MissingPackageError: If Ray is not installed.
        UsageError: If `where` is something else, or no cluster runs there.
        NoahError: If Ray cannot be started.
    """
    check_place(where)
    ray = load_ray()
    own = where == HERE
    if where not in (HERE, JOIN):
        _check_answers(where)
    _silence(ray)
    options: dict[str, Any] = {"num_cpus": usable_cores().count, "include_dashboard": False} if own else {}
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.CRITICAL, namespace="noah", **options)
    except (ConnectionError, ValueError, TimeoutError) as error:
        if own:
            raise NoahError(f"Ray cannot be started on this machine: {_first_line(error)}", _LOGS) from error
        raise _no_cluster(where, _first_line(error)) from error
    except RuntimeError as error:
        raise NoahError(f"Ray cannot be started or joined: {_first_line(error)}", _LOGS) from error
    try:
        cluster = Cluster(ray, own)
        machines = cluster.machines()
        cpus = sum(machine.resources.get("CPU", 0.0) for machine in machines)
        gpus = f", {counted(int(cluster.gpus()), 'GPUs')}" if cluster.gpus() else ""
        started = "started on this machine" if own else "joined"
        listener.say(
            f"ray       {ray.__version__}, {started}: {counted(len(machines), 'machines')}, "
            f"{counted(int(cpus), 'cores')}{gpus}"
        )
        yield cluster
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address where nothing listens; Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWERS_WITHIN).close()
    except (OSError, OverflowError) as error:
        cause = system_cause(error) if isinstance(error, OSError) else "there is no such port"
        raise _no_cluster(address, cause) from error


def _no_cluster(where: str, cause: str) -> UsageError:
    return UsageError(
        f"--ray {where}: this machine belongs to no Ray cluster that answers: {cause.rstrip('.')}.",
        "Start one here with ray start --head, join one with ray start --address=HEAD:6379, or write --ray alone.",
    )


def _silence(ray: Any) -> None:
    """Keep Ray's messages about dead machines off standard output, where results go; noah tells of them itself.

    There is no setting for it: `log_to_driver=False` silences only what tasks print.
    """
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    worker: Any = getattr(ray._private, "worker", None)
    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
