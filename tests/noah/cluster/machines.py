"""Clusters of a few machines that are processes of this one, each with one core."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import psutil

from noah.cluster.session import load_ray

MACHINE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20, "include_dashboard": False}


def processes_of(actor: str) -> list[psutil.Process]:
    """The processes of this test's clusters that run an actor; Ray names each after its class."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if " ".join(process.cmdline()).startswith(f"ray::{actor}"):
                found.append(process)
    return found


@contextmanager
def _driven_from(head: str) -> Iterator[None]:
    """Have the driver belong to the head: of machines at one address, older versions of Ray take any."""
    from ray._private import services

    if "node_name" in inspect.signature(services.get_node_to_connect_for_driver).parameters:
        yield
        return
    with mock.patch.object(
        services, "get_node_to_connect_for_driver", lambda address, _: services.get_node(address, head)
    ):
        yield


@contextmanager
def machines(count: int) -> Iterator[Any]:
    """A cluster whose address `connect` takes; `add_node(**MACHINE)` and `remove_node` change it meanwhile.

    The head has no core: the driver belongs to it, and it cannot be removed.
    """
    load_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={**MACHINE, "num_cpus": 0})
    try:
        for _ in range(count):
            cluster.add_node(**MACHINE)
        with _driven_from(cluster.head_node.node_id):
            yield cluster
    finally:
        cluster.shutdown()
