from __future__ import annotations

from pathlib import Path

from noah.hardware.control_groups import control_groups


def groups(root: Path, membership: str, *folders: str) -> list[str]:
    """The groups of a process with that membership, where those folders exist, relative to the root."""
    for folder in folders:
        (root / "groups" / folder).mkdir(parents=True, exist_ok=True)
    listed = root / "membership"
    listed.write_text(membership)
    found = control_groups("cpu", mounted=root / "groups", membership=listed)
    return [str(folder.relative_to(root / "groups")) for folder in found]


def test_version_2_from_its_own_group_to_the_outermost(tmp_path: Path) -> None:
    folders = ("user.slice/job.scope", "system.slice")
    assert groups(tmp_path, "0::/user.slice/job.scope\n", *folders) == ["user.slice/job.scope", "user.slice", "."]


def test_version_1_under_the_name_of_its_controllers(tmp_path: Path) -> None:
    membership = "4:memory:/other\n3:cpu,cpuacct:/docker/abc\n0::/\n"
    found = groups(tmp_path, membership, "cpu,cpuacct/docker/abc", "memory/other", "cpu")
    assert found == ["cpu,cpuacct/docker/abc", "cpu,cpuacct/docker", "cpu,cpuacct", "cpu", "."]


def test_both_versions_at_once(tmp_path: Path) -> None:
    assert groups(tmp_path, "1:cpu:/a\n0::/b\n", "cpu/a", "unified/b") == ["cpu/a", "cpu", ".", "unified/b", "unified"]


def test_a_path_that_only_the_host_knows_leaves_the_containers_own_group(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/kubepods/pod1\n", ".") == ["."]
    assert groups(tmp_path, "0::/../other\n", "other") == ["."]


def test_without_a_list_the_outermost_groups_are_looked_for(tmp_path: Path) -> None:
    (tmp_path / "groups" / "cpu").mkdir(parents=True)
    found = control_groups("cpu", mounted=tmp_path / "groups", membership=tmp_path / "absent")
    assert found == (tmp_path / "groups", tmp_path / "groups" / "cpu")
    assert control_groups("cpu", mounted=tmp_path / "none", membership=tmp_path / "absent") == ()
