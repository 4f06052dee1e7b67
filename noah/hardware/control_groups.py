"""The control groups that this process is in, by which Linux bounds what a container, a service or a job may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

MOUNTED = Path("/sys/fs/cgroup")
"""Where control groups are mounted."""
MEMBERSHIP = Path("/proc/self/cgroup")
"""The file in which Linux tells the groups of this process."""


def control_groups(controller: str, *, mounted: Path | None = None, membership: Path | None = None) -> tuple[Path, ...]:
    """Find the folders of the groups that bound this process, from its own to the outermost.

    A bound of an outer group holds for all inside, so that the least of all bounds counts. In a container the outermost
    folder is the container's own, and the path in the membership may lead nowhere.

    Args:
        controller: What is bounded: "cpu" or "memory".
        mounted: Where control groups are mounted, if not in the usual place.
        membership: The file that lists the groups of this process, if not the usual one.

    Returns:
        Folders of both versions; none where the system has no control groups.
    """
    root, listed = mounted or MOUNTED, membership or MEMBERSHIP
    try:
        lines = listed.read_text().splitlines()
    except OSError:
        lines = []
    found: dict[Path, None] = {}
    for line in [*lines, "0::/", f"1:{controller}:/"]:  # a container may hide the list of its groups
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2, beside which version 1 may be mounted, too
            mounts = (root, root / "unified")
        elif controller in controllers.split(","):
            mounts = (root / controllers, root / controller)
        else:
            continue
        for mount in mounts:
            found.update(dict.fromkeys(_up_to(mount, path)))
    return tuple(found)


def _up_to(mount: Path, path: str) -> Iterator[Path]:
    """The folders from a group's to the one where groups are mounted, as far as they exist."""
    parts = [part for part in path.split("/") if part]
    if ".." not in parts:  # the group of a process outside this container
        for length in range(len(parts), 0, -1):
            if (folder := mount.joinpath(*parts[:length])).is_dir():
                yield folder
    if mount.is_dir():
        yield mount
