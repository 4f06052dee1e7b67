"""How a search ends, with the winner, the Pareto front and how certain the choice is; and how these are read again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Any

from noah.cluster.session import Cluster
from noah.cost.macs import macs_of
from noah.errors import TrainingError
from noah.nas.candidate import Candidate, as_good_as, front, rank
from noah.nas.certainty import certainty
from noah.nas.evolution import SINGLE, TYPICAL, name_baseline, winner
from noah.nas.race import Task
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.settings import Settings, has_final, rerank_epochs
from noah.space.operators import estimate_size
from noah.stages.finalist import Reranked
from noah.stages.rerank import last_rung, rerank


def conclude(
    run: Run,
    materials: Materials,
    task: Task,
    candidates: Sequence[Candidate],
    listener: Listener,
    *,
    stopped: bool,
    exhausted: bool,
    cluster: Cluster | None = None,
) -> dict[str, Any]:
    """Choose the winner, and write the Pareto front, the winner, and how certain the choice is.

    Args:
        run: Gets the result.
        materials: What the run works with.
        task: What was searched: space, budget and rules.
        candidates: All finished candidates.
        listener: Receives the number of candidates that were given up, if any.
        stopped: Whether a time limit ended the search.
        exhausted: Whether the search has seen every subnet that the budget admits.
        cluster: The machines that train the finalists; None for this process.

    Raises:
        TrainingError: If no candidate gave finite logits.
    """
    settings, space = materials.settings, materials.space
    best, reranked = winner(candidates, settings.search), list[Reranked]()
    _check_finite(materials, best, candidates, listener)
    if has_final(settings.search):
        epochs = rerank_epochs(settings)
        reranked = rerank(run, materials, rank(candidates), settings.search.rerank, epochs, listener, cluster)
        if reranked:
            chosen = instead(reranked, candidates, materials) or reranked[0]
            best = next(candidate for candidate in candidates if candidate.index == chosen.index)
    result = {
        **best.to_json(),
        "evaluated": len(candidates),
        "planned": task.planned,
        "stopped": "time limit" if stopped else None,
        "exhausted": exhausted,
        "as_good": as_good_as(best, candidates),
        "given_up": sum(candidate.lost for candidate in candidates),
        "images_shown": sum(candidate.score.total for candidate in candidates),
        "space_size": space.size(),
        **estimate_size(space, task.budget).to_json(),
        "budget": task.budget.to_json(),
        "costs": task.budget.costs(best.subnet),
        "objective": settings.search.objective,
        "reference_count": best.subnet.reference_count(space.embed_dim, max(space.largest.prompt)),
        "certainty": _certainty(best, candidates, settings.search.top, task.rules.images, settings.seed),
        "rerank": _rerank_result(reranked, best.index, candidates, task.rules.images, settings) if reranked else None,
        "typical": _typical(candidates),
    }
    if settings.search.objective != "accuracy":
        run.write_json([candidate.to_json() for candidate in front(candidates)], "search", "pareto.json")
    run.write_json(result, "search", "best.json")
    return result


def _check_finite(materials: Materials, best: Candidate, candidates: Sequence[Candidate], listener: Listener) -> None:
    """Report how many candidates were given up because their logits were not finite; fail if none is left."""
    failed = sum(candidate.failed for candidate in candidates)
    if best.failed:
        other = "" if materials.hardware.precision == "fp32" else "--precision fp32 or "
        raise TrainingError(
            f"No subnet can win: the logits of {failed:,} of {len(candidates):,} are not finite for some images.",
            f"Start a new run with {other}a lower supernet.learning_rate, or find out what is wrong with the backbone.",
        )
    if failed:
        listener.say(
            f"given up  {failed:,} of {len(candidates):,} subnets, whose logits are not finite for some images"
        )


def _certainty(best: Candidate, candidates: Sequence[Candidate], top: int, images: int, seed: int) -> dict[str, Any]:
    """How often the winner beats the best other candidates on resampled validation images."""
    others = [c for c in rank(candidates) if c.outcome.complete and c.index != best.index]
    field = [best, *others[: top - 1]]
    sure = certainty([candidate.outcome.wrong for candidate in field], images, seed)
    return {**sure.to_json(), "indices": [candidate.index for candidate in field]}


def instead(reranked: Sequence[Reranked], candidates: Sequence[Candidate], materials: Materials) -> Reranked | None:
    """The best single module of the last rung, if it is cheaper than the first finalist, which is right no more often.

    Cheaper means fewer multiply-accumulates when merged, or as many and fewer parameters.
    """
    first, alone = reranked[0], _best_single(reranked, candidates)
    if alone is None or alone is first or first.score.correct > alone.score.correct:
        return None
    macs = macs_of(materials.backbone.model, len(materials.dataset.classes))
    mixture, single = (
        (macs(each.subnet), each.subnet.parameter_count(materials.space.sizes)) for each in (first, alone)
    )
    return alone if single < mixture else None


def _best_single(reranked: Sequence[Reranked], candidates: Sequence[Candidate]) -> Reranked | None:
    alone = _single_indices(candidates)
    return next((finalist for finalist in last_rung(reranked) if finalist.index in alone), None)


def _single_indices(candidates: Sequence[Candidate]) -> set[int]:
    return {candidate.index for candidate in candidates if candidate.origin == SINGLE}


def _typical(candidates: Sequence[Candidate]) -> dict[str, Any] | None:
    """What random subnets of the budget give with the supernet's weights on average, and the standard error of that."""
    accuracies = [each.score.accuracy for each in candidates if each.origin == TYPICAL and each.outcome.complete]
    if len(accuracies) < 2:
        return None
    error = stdev(accuracies) / math.sqrt(len(accuracies))
    return {"subnets": len(accuracies), "accuracy": fmean(accuracies), "standard_error": error}


def _rerank_result(
    reranked: Sequence[Reranked], chosen: int, candidates: Sequence[Candidate], images: int, settings: Settings
) -> dict[str, Any]:
    """The finalists, how certain the choice is among those of the last rung, and the gain over a single module."""
    last = last_rung(reranked)
    field = sorted(last, key=lambda finalist: finalist.index != chosen)  # the winner first, whoever was ahead
    sure = certainty([finalist.outcome.wrong for finalist in field], images, settings.seed)
    result: dict[str, Any] = {
        "finalists": [finalist.to_json() for finalist in reranked],
        "by": settings.search.rerank_by,
        "certainty": {**sure.to_json(), "indices": [finalist.index for finalist in field]},
    }
    alone = _best_single(reranked, candidates)
    if alone is not None:
        both = certainty([last[0].outcome.wrong, alone.outcome.wrong], images, settings.seed)
        lead = {} if alone is last[0] else {"lead": both.lead, "lead_error": both.lead_error}
        kind, won = name_baseline(alone.subnet), alone.index == chosen
        others = len({finalist.index for finalist in reranked} - _single_indices(candidates))
        result["single"] = {"index": alone.index, "kind": kind, "won": won, "others": others, **lead}
    return result
