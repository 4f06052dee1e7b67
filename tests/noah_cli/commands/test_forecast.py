"""What is printed of a forecast."""

from __future__ import annotations

from dataclasses import replace

import pytest

from noah.prepare.forecast import Forecast, Stage
from noah.space.pricing import SizeEstimate
from noah_cli.commands.forecast import print_forecast
from tests.noah.tiny_run import Recorder

FORECAST = Forecast(
    device="cpu",
    precision="fp32",
    threads=2,
    processes=1,
    supernet=Stage(6250, 200_000, 3.0, 7503.0, 812.4),
    search=Stage(800, 160_000, 1.0, 3601.0, None, at_most=True),
    finalists=None,
    retrain=Stage(1600, 100_000, 4.0, 2404.0, 12.0),
    epoch_seconds=75.0,
    step_seconds=1.2,
    merge_seconds=0.0314,
    image_seconds=0.00225,
    space_size=123_456_789,
    inside_budget=SizeEstimate(9876, 0.0),
    budget="640,000 parameters",
    backbone="vit_base_patch16_224",
    macs=17_600_000_000,
    process_memory=2345.6,
    advice=("This takes long.", "A GPU: use one."),
)


def printed(forecast: Forecast) -> list[str]:
    listener = Recorder()
    print_forecast(listener, forecast)
    return listener.said


def test_every_stage_is_told_with_time_and_memory() -> None:
    assert printed(FORECAST) == [
        "forecast  from a few steps timed on cpu in fp32 with 2 threads; nothing was written",
        "space     123,456,789 subnets, 9,876 inside the budget of 640,000 parameters",
        "supernet  6,250 steps, 200,000 images: about 2 h 5 min, at least 812 MiB more memory than before; 1.2 s a "
        "step, 1 min 15 s an epoch",
        "search    800 subnets, at most 160,000 images: at most 1 h 0 min; 31 ms to merge one, 2.2 ms an image",
        "retrain   1,600 steps, 100,000 images: about 40 min 4 s, at least 12 MiB more memory than before",
        "in all    at most 3 h 45 min; at least 2,346 MiB of main memory",
        "          The test split stays closed: `noah eval` is not counted.",
        "advice    This takes long.",
        "          A GPU: use one.",
    ]


def test_what_is_not_known_is_not_told() -> None:
    bare = replace(
        FORECAST,
        device="cuda",
        precision="bf16",
        threads=1,
        supernet=replace(FORECAST.supernet, memory=4096.2),
        search=replace(FORECAST.search, at_most=False),
        retrain=None,
        step_seconds=61.0,
        budget="",
        process_memory=None,
        advice=(),
    )
    assert printed(bare) == [
        "forecast  from a few steps timed on cuda in bf16 with 1 thread; nothing was written",
        "space     123,456,789 subnets",
        "supernet  6,250 steps, 200,000 images: about 2 h 5 min, 4,096 MiB on the device; 1 min 1 s a step, 1 min 15 s "
        "an epoch",
        "search    800 subnets, 160,000 images: about 1 h 0 min; 31 ms to merge one, 2.2 ms an image",
        "in all    about 3 h 5 min",
        "          The test split stays closed: `noah eval` is not counted.",
    ]


def test_several_processes_are_told_with_what_each_takes() -> None:
    lines = printed(replace(FORECAST, processes=4, threads=1))
    assert lines[0] == (
        "forecast  from a few steps timed on cpu in fp32 in 4 processes at once with 1 thread each; nothing was written"
    )
    assert lines[2] == (
        "supernet  6,250 steps, 200,000 images: about 2 h 5 min, at least 812 MiB more memory than before in each "
        "process; 1.2 s a step of all together, 1 min 15 s an epoch"
    )
    assert lines[3] == (
        "search    800 subnets, 4 at a time, at most 160,000 images: at most 1 h 0 min; 31 ms to merge one, 2.2 ms an "
        "image"
    )
    assert lines[5] == "in all    at most 3 h 45 min; at least 2,346 MiB of main memory in each process"
    assert (
        "4,096 MiB on the device of each process"
        in printed(replace(FORECAST, device="cuda", processes=4, supernet=replace(FORECAST.supernet, memory=4096.0)))[2]
    )


def test_finalists_are_a_stage_of_their_own() -> None:
    lines = printed(replace(FORECAST, finalists=Stage(500, 32_000, 4.0, 600.0, None)))
    assert lines[4] == "finalists 500 steps, 32,000 images: about 10 min 0 s"
    assert lines[6].startswith("in all    at most 3 h 55 min")


def test_an_estimated_number_of_subnets_has_its_error() -> None:
    estimated = replace(
        FORECAST, inside_budget=SizeEstimate(9876, 123.4), budget="5.47 G multiply-accumulates an image"
    )
    assert printed(estimated)[1] == (
        "space     123,456,789 subnets, about 9,876 (± 123) inside the budget of 5.47 G multiply-accumulates an image"
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.000012, "0.012 ms"), (0.5, "500 ms"), (1.0, "1 s"), (9.94, "9.9 s"), (59.4, "59 s")]
)
def test_short_times_have_two_digits(seconds: float, text: str) -> None:
    assert f"{text} a step" in printed(replace(FORECAST, step_seconds=seconds))[2]
