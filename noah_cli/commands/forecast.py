"""Prints the forecast of `noah search --dry-run`."""

from __future__ import annotations

from noah.console.durations import format_seconds
from noah.prepare.forecast import Forecast, Stage
from noah.progress import Listener, counted


def print_forecast(listener: Listener, forecast: Forecast) -> None:
    """Print the stages with their time and memory, the basis of the estimate, and advice if it takes too long."""
    several = forecast.processes > 1
    where = f"with {counted(forecast.threads, 'threads')}"
    if several:
        where = f"in {forecast.processes} processes at once {where} each"
    listener.say(
        f"forecast  from a few steps timed on {forecast.device} in {forecast.precision} {where}; nothing was written"
    )
    listener.say(f"space     {forecast.space_size:,} subnets{_inside(forecast)}")
    listener.say(
        f"supernet  {_stage(forecast, forecast.supernet, 'steps')}; {_short(forecast.step_seconds)} a step"
        f"{' of all together' if several else ''}, "
        f"{format_seconds(forecast.epoch_seconds)} an epoch"
    )
    candidates = f"subnets, {forecast.processes} at a time" if several else "subnets"
    listener.say(
        f"search    {_stage(forecast, forecast.search, candidates)}; {_short(forecast.merge_seconds)} to merge one, "
        f"{_short(forecast.image_seconds)} an image"
    )
    if forecast.finalists is not None:
        listener.say(f"finalists {_stage(forecast, forecast.finalists, 'steps')}")
    if forecast.retrain is not None:
        listener.say(f"retrain   {_stage(forecast, forecast.retrain, 'steps')}")
    limit = "at most " if forecast.search.at_most else "about "
    held = f"; at least {forecast.process_memory:,.0f} MiB of main memory" if forecast.process_memory else ""
    memory = f"{held} in each process" if several and held else held
    listener.say(f"in all    {limit}{format_seconds(forecast.seconds)}{memory}")
    listener.say("          The test split stays closed: `noah eval` is not counted.")
    for number, sentence in enumerate(forecast.advice):
        listener.say(f"{'' if number else 'advice':<10}{sentence}")


def _inside(forecast: Forecast) -> str:
    """Say how many subnets the budget admits; empty if there is no budget."""
    if not forecast.budget:
        return ""
    inside = forecast.inside_budget
    if not inside.standard_error:
        return f", {inside.number:,} inside the budget of {forecast.budget}"
    return f", about {inside.number:,} (± {inside.standard_error:,.0f}) inside the budget of {forecast.budget}"


def _stage(forecast: Forecast, stage: Stage, unit: str) -> str:
    bound = "at most " if stage.at_most else ""
    text = f"{stage.steps:,} {unit}, {bound}{stage.images:,} images: {bound or 'about '}{format_seconds(stage.seconds)}"
    if stage.memory is None:
        return text
    several = forecast.processes > 1
    if forecast.device == "cpu":
        return f"{text}, at least {stage.memory:,.0f} MiB more memory than before{' in each process' * several}"
    return f"{text}, {stage.memory:,.0f} MiB on the device{' of each process' * several}"


def _short(seconds: float) -> str:
    """Format a time of less than a minute with two digits: 1.3 s, 12 ms, 0.34 ms."""
    if seconds >= 60:
        return format_seconds(seconds)
    value, unit = (seconds, "s") if seconds >= 1 else (1000 * seconds, "ms")
    return f"{value:.0f} {unit}" if value >= 10 else f"{value:.2g} {unit}"
