"""Prints the result of a search: the winner, how certain the choice is, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from noah.console.listener import RichListener
from noah.nas.certainty import Certainty, describe_certainty
from noah.nas.gain import MEASURES, describe_gain, describe_typical
from noah.prepare.run_budget import COSTS
from noah.progress import counted
from noah.runs.folder import Run
from noah.runs.stored_results import read_front
from noah.runs.subnet_text import spell_subnet
from noah.space.budget import Quantity, describe_cost
from noah.space.subnet import Subnet
from noah_cli.options.options import run_options
from noah_cli.terminal.console import ConsoleListener, draw_subnet


def print_search(listener: ConsoleListener, runs: Path, run: Run, result: dict[str, Any], *, chosen: bool) -> None:
    """Print the winner and what to type next.

    Args:
        listener: The console.
        runs: The folder of all runs.
        run: The run that was searched.
        result: The content of its search/best.json.
        chosen: Whether the user chose the run by name; then what to type next names it.
    """
    again = run_options(run.folder, runs, always=chosen)
    print_winner(listener, result)
    if run.path("search", "pareto.json").is_file():
        print_front(listener, read_front(run), result["objective"], again)
    listener.result({"run": str(run.folder), **result})
    if result.get("stopped"):
        listener.say_next(f"noah search --resume{again}   # goes on with the search, or:")
    listener.say_next(f"noah retrain{again}")


def print_winner(listener: RichListener, result: dict[str, Any]) -> None:
    """Print the winner of a search, drawn as modules x blocks, and how certain its accuracy is.

    Args:
        listener: The console.
        result: The content of search/best.json.
    """
    subnet = Subnet.from_json(result["subnet"])
    budget = result["budget"].get("parameters")
    allowed = f" of {budget:,} allowed" if budget else ""
    if result.get("stopped"):
        listener.say(
            f"stopped   by the {result['stopped']} after {result['evaluated']:,} of {result['planned']:,} subnets"
        )
    if result.get("exhausted"):
        listener.say(f"exhausted {_all_of_the_space(result)}")
    listener.say(
        f"winner    subnet {result['index']} ({result['origin']}) of {result['evaluated']:,} evaluated, "
        f"{result['parameters']:,} parameters{allowed}, head not counted"
    )
    for line in draw_subnet(subnet, listener.console.width):
        listener.console.print(line, highlight=False)
    for name in get_args(Quantity):
        if name != "parameters" and name in result["budget"]:
            cost, limit = (describe_cost(name, result[key][name]) for key in ("costs", "budget"))
            listener.say(f"cost      {cost}; allowed: {limit}")
    _print_racing(listener, result)
    others = "1 other lies" if result["as_good"] == 1 else f"{result['as_good']:,} others lie"
    others = f"at least {others}" if result["given_up"] and result["as_good"] else others
    shared = " with the supernet's weights" if result.get("rerank") else ""
    listener.say(
        f"accuracy  {result['accuracy']:.1%} ± {result['standard_error']:.1%} on {result['total']:,} validation "
        f"images{shared}; {others} within that error"
    )
    if result.get("typical"):
        listener.say(f"typical   {describe_typical(result)}, all with the supernet's weights")
    if result.get("rerank"):
        _print_finalists(listener, result["rerank"])
    elif result.get("certainty"):
        listener.say(f"certainty {_sentence(result['certainty'])}")
    listener.say(
        "          The winner was chosen on these images, so expect less elsewhere; `noah eval` measures it on the "
        "test split."
    )


def print_front(listener: RichListener, front: Sequence[dict[str, Any]], objective: str, run: str = "") -> None:
    """Print the Pareto front of a search with two objectives.

    Args:
        listener: The console.
        front: The content of search/pareto.json, the most accurate subnet first.
        objective: The search's two objectives, as "accuracy,params".
        run: The options with which a command finds the run.
    """
    if len(front) == 1:
        listener.say("front     1 subnet, the winner: it beats all others in both objectives")
    else:
        listener.say(
            f"front     {len(front)} subnets that no other beats in both objectives; `noah retrain --subnet "
            f"pareto:2{run}` trains the second"
        )
    for number, candidate in enumerate(front, start=1):
        cost = describe_cost(COSTS[objective], candidate["cost"])
        listener.say(f"          {number:>2}  {candidate['accuracy']:.1%}  {cost}")


def _all_of_the_space(result: dict[str, Any]) -> str:
    """That every subnet was evaluated, and how sure that is."""
    evaluated, counted = result["evaluated"], result["inside_budget"]
    whole, verb = ("the only subnet", "was") if evaluated == 1 else (f"all {evaluated:,} subnets", "were")
    if evaluated == result["space_size"]:
        return f"{whole} of the space {verb} evaluated"
    told = f"{whole} of the space inside the budget {verb} evaluated"
    exact = evaluated == counted and not result["inside_budget_standard_error"]
    return told if exact else f"{told}, as far as random draws can tell: none found another"


def _print_racing(listener: RichListener, result: dict[str, Any]) -> None:
    given_up = result["given_up"]
    if given_up:
        share = result["images_shown"] / (result["evaluated"] * result["total"])
        listener.say(
            f"racing    {given_up:,} of {result['evaluated']:,} subnets {'was' if given_up == 1 else 'were'} given up "
            f"early; {share:.0%} of the images of a full evaluation were looked at"
        )


def _print_finalists(listener: RichListener, reranked: dict[str, Any]) -> None:
    finalists = reranked["finalists"]
    epochs = len(finalists[0]["losses"])
    last = [finalist for finalist in finalists if len(finalist["losses"]) == epochs]
    measure = reranked.get("by")  # older versions did not store it
    shown = measure if measure == "calibrated_cross_entropy" else "cross_entropy"
    left_out = len(finalists) - len(last)
    before = f"; {left_out:,} {'was' if left_out == 1 else 'were'} left out before" if left_out else ""
    by = f" by {MEASURES[measure]}" if measure else ""
    listener.say(f"finalists trained for {counted(epochs, 'epochs')} each; the best{by} first{before}")
    for finalist in last:
        entropy, subnet = finalist[shown], spell_subnet(Subnet.from_json(finalist["subnet"]))
        listener.say(f"          {finalist['index']:>4}  {finalist['accuracy']:.1%}  {entropy:.3f} nats  {subnet}")
    listener.say(f"certainty {_sentence(reranked['certainty'])}")
    if single := reranked.get("single"):
        listener.say(f"gain      {describe_gain(single)}")


def _sentence(sure: dict[str, Any]) -> str:
    return describe_certainty(Certainty.from_json(sure), sure["indices"])
