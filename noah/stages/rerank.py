"""The final choice: the best candidates of a search are briefly trained, each on its own, and ranked again.

A search ranks subnets with the supernet's weights, which they share. These only stand in for weights of their own, and
they are least reliable among the best candidates, where the differences are small. So each of these few is trained on
the training set the way the winner will be, only for fewer epochs, and measured on the validation set.

With several rungs this is successive halving: all are trained for a few epochs, and the better half goes on to a fresh
training of twice as many. The baselines that are invited always take part (`search.invited`).

The test set is not touched, and no validation image is used for training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from noah.cluster.session import Cluster
from noah.errors import RunError, SettingsError
from noah.evaluation.kept_tokens import KeptTokens
from noah.files.jsonl import read_lines
from noah.nas.candidate import Candidate
from noah.nas.evolution import SINGLE, is_invited, name_baseline
from noah.nas.halving import plan_rungs
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.file_shapes import check_shape
from noah.runs.folder import Run
from noah.settings.settings import EvolutionSettings
from noah.settings.training_settings import RetrainSettings, shortened
from noah.stages.finalist import FinalMaterial, FinalTraining, Reranked, read_final, train_finalist
from noah.stages.spread_final import spread_trainings

_NEW_RUN = "Start a new run with `noah search`."
_OF_THE_WINNER = {"hold_out", "patience", "teachers", "teacher_share", "teacher_temperature"}
"""Settings of the retraining that do not affect finalists, but for images held out from a winner that they teach."""


def rerank(
    run: Run,
    materials: Materials,
    candidates: Sequence[Candidate],
    m: int,
    epochs: int,
    listener: Listener,
    cluster: Cluster | None = None,
) -> list[Reranked]:
    """Train the best candidates briefly and rank them by the result; work that the run folder holds is not repeated.

    Each is trained with the settings of the retraining, with the same share of warm-up, on the training set alone. It
    starts from a fresh head and modules, or from its slice of the supernet's weights if `retrain.inherit` is set.

    Args:
        run: Gets search/rerank.jsonl, with a line for each finished training, and search/rerank/, with checkpoints.
        materials: What the run works with; `search.rungs` and `search.rerank_by` say how they are compared.
        candidates: The candidates of the search, best first. Those that the race gave up on are skipped; of the others
            the first take part, or those with the lowest cross-entropy where finalists are compared by one.
        m: How many candidates are trained besides those that are invited.
        epochs: The number of epochs of each training in the last rung.
        listener: Receives the progress.
        cluster: The machines that train them; None for this process. The result is the same.

    Returns:
        The candidates, or all if there are fewer, with the best of the last rung first, then those that were left out
        before it. Among equally good ones, the one that the search ranked higher comes first. An empty list if there
        is nothing to choose from.

    Raises:
        RunError: If a file is damaged, or was left by trainings with other settings.
        TrainingError: If a loss or a logit is not finite.
    """
    chosen = _entrants(candidates, m, materials.settings.search)
    if absent := _absent(chosen, materials.settings.search):
        listener.say(f"final     without {', '.join(absent)}, which the search did not come to or could not measure")
    if len(chosen) < 2:
        return []
    rungs = plan_rungs(len(chosen), epochs, materials.settings.search.rungs)
    path = run.path("search", "rerank.jsonl")
    _check_settings(run, shortened(materials.settings.retrain, epochs))
    done = {
        (reranked.index, len(reranked.losses)): reranked
        for reranked in materials.hardware.processes.of_first(lambda: read_reranked(path))
    }
    by_index = {candidate.index: candidate for candidate in chosen}
    if any(index in by_index and by_index[index].subnet != known.subnet for (index, _), known in done.items()):
        raise RunError(f"{path} is damaged: it holds other subnets than the search.", _NEW_RUN)
    final = _Final(run, materials, epochs, listener, done, cluster)
    order = {candidate.index: place for place, candidate in enumerate(chosen)}
    left_out: list[Reranked] = []
    for number, rung in enumerate(rungs, start=1):
        told = f" in round {number} of {len(rungs)}" if len(rungs) > 1 else ""
        trained = final.train(chosen, rung.epochs, told)
        ranked = sorted(trained, key=lambda each: (*_rank_key(each, materials), order[each.index]))
        going_on = ranked[: rungs[number].entrants] if number < len(rungs) else []
        if going_on:  # the best single module is in the last rung, too, to be compared with
            alone = next((each for each in ranked if by_index[each.index].origin == SINGLE), None)
            going_on += [alone] if alone and alone not in going_on else []
        chosen = [by_index[each.index] for each in going_on]
        left_out = [*(each for each in ranked if each not in going_on), *left_out]
    return left_out


def _entrants(candidates: Sequence[Candidate], m: int, search: EvolutionSettings) -> list[Candidate]:
    """The best m candidates that were shown every image, and those that are invited, in their order.

    A final that compares by a cross-entropy takes the candidates with the lowest one, too. (Theirs is not calibrated:
    a supernet is not too sure of itself.)
    """
    invited = [each for each in candidates if is_invited(each.origin, each.subnet, search)]
    others = [each for each in candidates if each.outcome.complete and each not in invited]
    if search.rerank_by != "accuracy":
        others.sort(key=lambda each: each.score.cross_entropy)
    others = others[:m]
    return [each for each in candidates if each in others or (each in invited and not each.failed)]


def _absent(chosen: Sequence[Candidate], search: EvolutionSettings) -> list[str]:
    """The baselines that are invited by name and do not take part."""
    present = {name_baseline(each.subnet) for each in chosen if is_invited(each.origin, each.subnet, search)}
    return [name for name in search.invited or () if name not in present]


class _Final:
    """The trainings of a final; pixels and the supernet are read when the first of them begins."""

    def __init__(
        self,
        run: Run,
        materials: Materials,
        epochs: int,
        listener: Listener,
        done: dict[tuple[int, int], Reranked],
        cluster: Cluster | None,
    ) -> None:
        self.run, self.materials, self.epochs, self.listener, self.done = run, materials, epochs, listener, done
        self.cluster = cluster
        self.material: FinalMaterial | None = None
        self.known: dict[int, KeptTokens] = {}

    def train(self, chosen: Sequence[Candidate], epochs: int, told: str) -> list[Reranked]:
        """Train those that have not been trained for so many epochs, and give the results of all."""
        missing = [candidate for candidate in chosen if (candidate.index, epochs) not in self.done]
        if missing:
            finished = len(chosen) - len(missing)
            self.run.log("rerank", "started", candidates=len(chosen), finished=finished, epochs=epochs)
            settings = shortened(self.materials.settings.retrain, epochs)
            last = shortened(self.materials.settings.retrain, self.epochs)
            self.run.write_json(_dumped(last), "search", "rerank", "settings.json")
            shorter = () if epochs == self.epochs else (str(epochs),)
            trainings = [
                FinalTraining(candidate.index, candidate.subnet, settings, (str(candidate.index), *shorter))
                for candidate in missing
            ]
            for trained in self._trained(
                trainings, [chosen.index(candidate) for candidate in missing], len(chosen), told
            ):
                self.done[trained.index, epochs] = trained
                self.run.append(trained.to_json(), "search", "rerank.jsonl")
            self.run.log("rerank", "finished", candidates=len(chosen))
        return [self.done[candidate.index, epochs] for candidate in chosen]

    def _trained(
        self, trainings: Sequence[FinalTraining], places: Sequence[int], count: int, told: str
    ) -> Iterator[Reranked]:
        """Do the trainings, and give their results in their order."""
        if self.material is None:
            self.material = read_final(self.run, self.materials, self.listener)
        if self.cluster is not None:
            title = f"training {count} finalists{told}"
            yield from spread_trainings(self.cluster, self.material, trainings, self.run, self.listener, title)
            return
        for training, place in zip(trainings, places, strict=True):
            title = f"training finalist {place + 1} of {count}{told}"
            yield train_finalist(self.material, training, self.run, self.listener, title, self.known)


def read_reranked(path: Path) -> list[Reranked]:
    """Read the finished candidates from a run's search/rerank.jsonl, in the order of training; none without the file.

    Raises:
        RunError: If a line is damaged.
    """
    return _parsed(read_lines(path), path, "line")


def read_finalists(run: Run) -> list[Reranked]:
    """Read the finalists among which the winner was chosen, best first; none if the run had no final.

    Where a search was stopped after its final and went on, search/rerank.jsonl holds those of the first final, too.

    Raises:
        RunError: If search/best.json is damaged.
    """
    path = run.path("search", "best.json")
    final = run.read_json("search", "best.json").get("rerank") if path.is_file() else None
    return _parsed(final["finalists"], path, "finalist") if final else []


def _parsed(records: Iterable[dict[str, Any]], path: Path, what: str) -> list[Reranked]:
    reranked = []
    for number, record in enumerate(records, start=1):
        try:
            reranked.append(Reranked.from_json(record))
        except (KeyError, TypeError, ValueError, SettingsError) as error:
            raise RunError(f"{path} is damaged in {what} {number}: it is no trained candidate.", _NEW_RUN) from error
    return reranked


def last_rung(reranked: Sequence[Reranked]) -> list[Reranked]:
    """Those of the last rung, which have the longest training, in their order."""
    epochs = max((len(each.losses) for each in reranked), default=0)
    return [each for each in reranked if len(each.losses) == epochs]


def _dumped(settings: RetrainSettings) -> dict[str, Any]:
    """The settings that affect a finalist, which has no teachers and does not end early."""
    kept = {"hold_out": settings.hold_out} if settings.hold_out and settings.teachers != "none" else {}
    return settings.model_dump(mode="json", exclude=_OF_THE_WINNER) | kept


def _check_settings(run: Run, settings: RetrainSettings) -> None:
    """Refuse to mix trainings with different settings: they could be neither compared nor resumed."""
    if not run.path("search", "rerank", "settings.json").is_file():
        return
    path, hint = run.path("search", "rerank", "settings.json"), "Remove it to go on with the settings of run.yaml."
    stored = check_shape(run.read_json("search", "rerank", "settings.json"), dict[str, Any], path, hint)
    asked = _dumped(settings)
    if stored != asked:
        keys = sorted(key for key in {*stored, *asked} if stored.get(key) != asked.get(key))
        raise RunError(
            f"The finalists of {run.name} were trained with other settings: {', '.join(keys)}.",
            f"Go on with the settings that it was started with, or remove {run.path('search', 'rerank')} and "
            f"{run.path('search', 'rerank.jsonl')} to train all of them again.",
        )


def _rank_key(reranked: Reranked, materials: Materials) -> tuple[float, ...]:
    match materials.settings.search.rerank_by:
        case "accuracy":
            return -reranked.score.correct, reranked.score.cross_entropy
        case "cross_entropy":
            return (reranked.score.cross_entropy,)
        case "calibrated_cross_entropy":
            return (_calibrated(reranked),)


def _calibrated(reranked: Reranked) -> float:
    if reranked.calibrated is None:
        raise RunError(
            f"Finalist {reranked.index} was measured by a version that did not know the calibrated cross-entropy.",
            "Remove search/rerank.jsonl and search/rerank/ of the run to train all of them again.",
        )
    return reranked.calibrated
