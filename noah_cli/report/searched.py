"""What a search evaluated, what it found, and how certain that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from noah.errors import SettingsError
from noah.evaluation.significance import Proportion
from noah.files.jsonl import read_lines
from noah.nas.candidate import Candidate, front, rank
from noah.nas.certainty import Certainty, describe_certainty
from noah.nas.gain import MEASURES, describe_gain, describe_typical
from noah.prepare.run_budget import COSTS
from noah.runs.folder import RUN_FILE, Run
from noah.runs.stored_results import chosen_by
from noah.runs.subnet_text import spell_subnet
from noah.space.budget import Quantity, describe_cost
from noah.space.kinds import KINDS
from noah.space.subnet import Subnet
from noah_cli.report.reading import Missing, well_formed
from noah_cli.report.trained import stage_seconds


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate that was trained on its own for the final choice.

    Args:
        index: Its number in the search.
        modules: Its modules, as they are typed where every block has the same ones.
        right: How many validation images it gets right after that training.
        cross_entropy: On these images, in nats.
        calibrated: The same at the temperature that fits them best; None if it was not measured.
        epochs: Of that training; those that were left out in an earlier round had fewer.
    """

    index: int
    modules: str
    right: Proportion
    cross_entropy: float
    calibrated: float | None
    epochs: int


@dataclass(frozen=True, slots=True)
class Winner:
    """The subnet that a search chose.

    Args:
        candidate: The winning candidate.
        validation: Its validation accuracy with the supernet's weights.
        judged: The validation accuracy that it was chosen by: in the final, or the former if there was none.
        as_good: How many others are known to be within one standard error of it.
        certainty: How often it wins on resampled validation images, in sentences; empty if it was not stored.
        costs: For each bounded quantity except parameters, the cost and the limit in words.
        gains: What was gained over the best single module and over random subnets, in sentences, as far as is known.
        finalists: Those among which a final chose it, best first; none if the search's ranking decided.
        compared_by: By what finalists are compared, such as "cross-entropy".
        stopped: What ended the search early; empty if nothing did.
        exhausted: Whether every subnet that the budget admits was evaluated.
    """

    candidate: Candidate
    validation: Proportion
    judged: Proportion
    as_good: int
    certainty: str
    costs: tuple[tuple[str, str], ...]
    gains: tuple[str, ...]
    finalists: tuple[Finalist, ...]
    compared_by: str
    stopped: str
    exhausted: bool


@dataclass(frozen=True, slots=True)
class Searched:
    """A search, finished or not.

    Args:
        candidates: All that have been evaluated, in the order of their numbers.
        planned: How many are planned; at least as many as have been evaluated.
        images: Number of validation images.
        winner: The chosen subnet; None while the search goes on.
        front: Candidates that no other beats in both accuracy and parameters, the most accurate first.
        cost_front: Those that no other beats in both accuracy and the second objective, with that cost in words; empty
            if accuracy was the only objective.
        parameter_limit: The bound on parameters, if there is one.
        space_size: Number of subnets in the space; None while the search goes on.
        inside_budget: How many of these are within the budget; None while the search goes on.
        widest: The largest width of each module in the space.
        seconds: Duration of the search since it was last started; None if the log does not say.
    """

    candidates: tuple[Candidate, ...]
    planned: int
    images: int
    winner: Winner | None
    front: tuple[Candidate, ...]
    cost_front: tuple[tuple[Candidate, str], ...]
    parameter_limit: int | None
    space_size: int | None
    inside_budget: int | None
    widest: Mapping[str, int]
    seconds: float | None

    @property
    def given_up(self) -> int:
        """Number of candidates that racing gave up."""
        return sum(candidate.lost for candidate in self.candidates)

    @property
    def failed(self) -> int:
        """Number of candidates with logits that are not finite."""
        return sum(candidate.failed for candidate in self.candidates)

    @property
    def shown_share(self) -> float:
        """Images that were evaluated, as a share of all images for all candidates."""
        return sum(c.score.total for c in self.candidates) / (len(self.candidates) * self.images)


def gather_searched(run: Run, description: Mapping[str, Any], resume: str) -> Searched | Missing:
    """Read the search of a run.

    Args:
        run: The run to read.
        description: The content of its run.yaml.
        resume: The command that goes on with the search.

    Raises:
        RunError: If a file is damaged.
    """
    path = run.path("search", "candidates.jsonl")
    with well_formed(path, "no candidates"):
        candidates = tuple(map(_candidate, read_lines(path)))
    if not candidates:
        return Missing("No subnet has been evaluated yet.", (resume,))
    with well_formed(run.path(RUN_FILE), "no number of validation images"):
        images = int(description["data"]["validation"])
    result: dict[str, Any] = {}
    winner = None
    if run.path("search", "best.json").is_file():
        with well_formed(run.path("search", "best.json"), "no winner"):
            result = run.read_json("search", "best.json")
            winner = _winner(result, str(description["settings"]["search"].get("rerank_by", "accuracy")))
    objective = str(description["settings"]["search"].get("objective", "accuracy"))
    return Searched(
        candidates=candidates,
        planned=max(int(result.get("planned", _planned(run))), len(candidates)),
        images=images,
        winner=winner,
        front=tuple(front([replace(candidate, cost=candidate.parameters) for candidate in candidates])),
        cost_front=tuple((c, describe_cost(COSTS[objective], c.cost)) for c in front(candidates))
        if objective in COSTS
        else (),
        parameter_limit=description["settings"]["budget"].get("parameters"),
        space_size=result.get("space_size"),
        inside_budget=result.get("inside_budget"),
        widest={module: max(_widths(description, module, candidates), default=0) for module in KINDS},
        seconds=stage_seconds(run, "search"),
    )


def best_so_far(searched: Searched) -> list[float]:
    """Give the best accuracy after each evaluation, among candidates that were shown every image; NaN if none was."""
    best, found = float("nan"), []
    for candidate in searched.candidates:
        if candidate.outcome.complete and not candidate.score.accuracy <= best:
            best = candidate.score.accuracy
        found.append(best)
    return found


def largest_possible(candidate: Candidate, images: int) -> float:
    """Give the accuracy that a candidate would have if it were right on every image that it was not shown."""
    return 1 - len(candidate.outcome.wrong) / images


def order(searched: Searched) -> list[Candidate]:
    """Sort the candidates that were shown every image, best first."""
    return [candidate for candidate in rank(searched.candidates) if candidate.outcome.complete]


def _candidate(record: Mapping[str, Any]) -> Candidate:
    try:
        return Candidate.from_json(dict(record))
    except SettingsError as error:
        raise ValueError(error.problem) from error


def _winner(result: Mapping[str, Any], compared_by: str) -> Winner:
    reranked = result.get("rerank")
    sure = reranked["certainty"] if reranked else result.get("certainty")
    limits, costs, judged = result.get("budget", {}), result.get("costs", {}), chosen_by(result)
    return Winner(
        candidate=_candidate(result),
        validation=Proportion(int(result["correct"]), int(result["total"])),
        judged=Proportion(int(judged["correct"]), int(judged["total"])),
        as_good=int(result["as_good"]),
        certainty=describe_certainty(Certainty.from_json(sure), sure["indices"]) if sure else "",
        costs=tuple(
            (describe_cost(name, costs[name]), describe_cost(name, limits[name]))
            for name in get_args(Quantity)
            if name in limits and name in costs and name != "parameters"
        ),
        gains=_gains(result),
        finalists=tuple(map(_finalist, reranked["finalists"])) if reranked else (),
        compared_by=MEASURES[compared_by],
        stopped=result.get("stopped") or "",
        exhausted=bool(result.get("exhausted")),
    )


def _finalist(record: Mapping[str, Any]) -> Finalist:
    return Finalist(
        int(record["index"]),
        spell_subnet(Subnet.from_json(record["subnet"])),
        Proportion(int(record["correct"]), int(record["total"])),
        float(record["cross_entropy"]),
        record.get("calibrated_cross_entropy"),
        len(record["losses"]),
    )


def _gains(result: Mapping[str, Any]) -> tuple[str, ...]:
    single = (result.get("rerank") or {}).get("single")
    found = [f"Gain in the final: {describe_gain(single)}."] if single else []
    return (*found, *([f"With the supernet's weights, {describe_typical(result)}."] if result.get("typical") else []))


def _planned(run: Run) -> int:
    """Read from the log how many candidates the search plans to evaluate; 0 if it does not say."""
    planned = 0
    for record in read_lines(run.path("log.jsonl")):
        if record.get("stage") == "search" and record.get("event") == "started":
            planned = int(record.get("planned", planned))
    return planned


def _widths(description: Mapping[str, Any], module: str, candidates: tuple[Candidate, ...]) -> list[int]:
    """List the widths of a module in the space, and those among the candidates in case the space is unknown."""
    known = description.get("space", {}).get(module, {})
    occurring = {width for candidate in candidates for width in candidate.subnet.widths(module)}
    return [*(known.get("widths", ()) if isinstance(known, dict) else ()), *occurring]
