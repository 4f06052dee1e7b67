"""The name of the processor."""

from __future__ import annotations

from pathlib import Path

from noah.hardware.processor import processor_name


def test_it_is_what_linux_tells_once_for_all_cores(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    core = "processor\t: {}\nmodel name\t: AMD EPYC 9B14 96-Core Processor\nflags\t\t: fpu avx512_bf16\n\n"
    file.write_text(core.format(0) + core.format(1))
    assert processor_name(file) == "AMD EPYC 9B14 96-Core Processor"


def test_where_nothing_tells_there_is_a_name_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("Hardware\t: BCM2835\n")
    assert processor_name(tmp_path / "cpuinfo") == processor_name(tmp_path / "nothing") != ""
