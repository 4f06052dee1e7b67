"""The final choice: the best candidates of a search are briefly trained, each on its own, and ranked again.

A search ranks subnets with the supernet's weights, which they share. These only stand in for weights of their own, and
they are least reliable among the best candidates, where the differences are small. So each of these few is trained on
the training set the way the winner will be, only for fewer epochs, and measured on the validation set.

With several rungs this is successive halving: all are trained for a few epochs, and the better half goes on to a fresh
training of twice as many. The baselines that are invited always take part (`search.invited`).

The test set is not touched, and no validation image is used for training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.data.augment.augmented_pixels import TrainingPixels
from noah.data.pixels.pixels import Pixels
from noah.errors import RunError, SettingsError
from noah.evaluation.accuracy import Score
from noah.evaluation.kept_tokens import KeptTokens
from noah.evaluation.score import predicted_labels, score
from noah.files.jsonl import read_lines
from noah.files.packed import pack_images, unpack_images
from noah.model.supernet import Supernet, slice_trainable_state
from noah.nas.candidate import Candidate
from noah.nas.evolution import EVEN, SINGLE, name_baseline
from noah.nas.halving import plan_rungs
from noah.nas.outcome import Outcome
from noah.prepare.build import build_supernet, class_weights, load_supernet
from noah.prepare.context import Materials, seed_torch
from noah.prepare.first_blocks import compute_first_blocks
from noah.progress import Listener
from noah.runs.file_shapes import check_shape
from noah.runs.folder import Run
from noah.settings.training_settings import RetrainSettings, shortened
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah.training.divergence import lower_learning_rate
from noah.training.loop import train

_RERANK = 4
"""The second word of this stage's seed. All candidates share the seed, so their images come in the same order and as
little as possible is left to luck."""
_NEW_RUN = "Start a new run with `noah search`."
_OF_THE_WINNER = {"hold_out", "patience", "teachers", "teacher_share", "teacher_temperature"}
"""Settings of the retraining that do not affect finalists."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """A candidate after a short training of its own.

    Args:
        index: The candidate's number in the search.
        subnet: The widths of its modules.
        outcome: The result on all validation images, with the weights of this training.
        losses: The mean training loss of each epoch.
    """

    index: int
    subnet: Subnet
    outcome: Outcome
    losses: tuple[float, ...]

    @property
    def score(self) -> Score:
        """Accuracy and cross-entropy on the validation images."""
        return self.outcome.score

    def to_json(self) -> dict[str, Any]:
        """The candidate as a line of rerank.jsonl."""
        return {
            "index": self.index,
            "subnet": self.subnet.to_json(),
            **self.score.to_json(),
            "wrong": pack_images(self.outcome.wrong),
            "losses": list(self.losses),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Reranked:
        """Read what `to_json` gave, or that of an earlier version, which wrote plain numbers."""
        return cls(
            value["index"],
            Subnet.from_json(value["subnet"]),
            Outcome(Score(value["correct"], value["total"], value["cross_entropy"]), unpack_images(value["wrong"])),
            tuple(value["losses"]),
        )


def rerank(
    run: Run, materials: Materials, candidates: Sequence[Candidate], m: int, epochs: int, listener: Listener
) -> list[Reranked]:
    """Train the best candidates briefly and rank them by the result; work that the run folder holds is not repeated.

    Each is trained with the settings of the retraining, with the same share of warm-up, on the training set alone. It
    starts from a fresh head and modules, or from its slice of the supernet's weights if `retrain.inherit` is set.

    Args:
        run: Gets search/rerank.jsonl, with a line for each finished training, and search/rerank/, with checkpoints.
        materials: What the run works with; `search.rungs` and `search.rerank_by` say how they are compared.
        candidates: The candidates of the search, best first. Those that the race gave up on are skipped.
        m: How many candidates are trained besides those that are invited.
        epochs: The number of epochs of each training in the last rung.
        listener: Receives the progress.

    Returns:
        The candidates, or all if there are fewer, with the best of the last rung first, then those that were left out
        before it. Among equally good ones, the one that the search ranked higher comes first.

    Raises:
        RunError: If a file is damaged, or was left by trainings with other settings.
        TrainingError: If a loss or a logit is not finite.
    """
    chosen = _entrants(candidates, m, materials.settings.search.invited)
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
    final = _Final(run, materials, epochs, listener, done)
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


def _entrants(candidates: Sequence[Candidate], m: int, invited: Sequence[str] | None) -> list[Candidate]:
    """The best m candidates that were shown every image, and those that are invited, in their order."""

    def is_invited(candidate: Candidate) -> bool:
        if invited is None:
            return candidate.origin == SINGLE
        return candidate.origin in (SINGLE, EVEN) and name_baseline(candidate.subnet) in invited

    others = [each for each in candidates if each.outcome.complete and not is_invited(each)][:m]
    return [each for each in candidates if each in others or (is_invited(each) and not each.failed)]


class _Final:
    """The trainings of a final; pixels and the supernet are read when the first of them begins."""

    def __init__(
        self,
        run: Run,
        materials: Materials,
        epochs: int,
        listener: Listener,
        done: dict[tuple[int, int], Reranked],
    ) -> None:
        self.run, self.materials, self.epochs, self.listener, self.done = run, materials, epochs, listener, done
        self.read: tuple[TrainingPixels, Pixels, Supernet | None] | None = None
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
            for candidate in missing:
                title = f"training finalist {chosen.index(candidate) + 1} of {len(chosen)}{told}"
                trained = self._one(candidate, settings, title)
                self.done[candidate.index, epochs] = trained
                self.run.append(trained.to_json(), "search", "rerank.jsonl")
            self.run.log("rerank", "finished", candidates=len(chosen))
        return [self.done[candidate.index, epochs] for candidate in chosen]

    def _one(self, candidate: Candidate, settings: RetrainSettings, title: str) -> Reranked:
        """Train and measure one candidate; the training goes on from its checkpoint if there is one."""
        run, materials, subnet = self.run, self.materials, candidate.subnet
        pixels, validation, supernet = self._reading()
        seed = (materials.settings.seed, _RERANK)
        seed_torch(*seed)
        model = build_supernet(materials, subnet, settings)
        if supernet is not None:
            model.load_trainable_state(slice_trainable_state(supernet, subnet))
        shorter = () if settings.epochs == self.epochs else (str(settings.epochs),)
        kept = compute_first_blocks(model, pixels, settings, materials, run, "rerank", self.listener, self.known)
        with self.listener.bar(f"{title}, subnet {candidate.index}", settings.epochs, "epochs") as bar:
            losses = train(
                model,
                pixels,
                materials.backbone.preprocessing,
                lambda *_: (subnet,),
                settings,
                materials.hardware,
                seed=seed,
                checkpoint=run.path("search", "rerank", str(candidate.index), *shorter, CHECKPOINT_FILE),
                bar=bar,
                say=self.listener.say,
                stage=f"finalist {candidate.index}",
                remedy="Start a new run with a lower learning rate, such as "
                f"--set retrain.learning_rate={lower_learning_rate(settings.learning_rate)}.",
                class_weights=class_weights(pixels, materials),
                kept=kept,
            )
        outcome = _outcome(model.eval(), subnet, validation, materials)
        return Reranked(candidate.index, subnet, outcome, tuple(losses))

    def _reading(self) -> tuple[TrainingPixels, Pixels, Supernet | None]:
        if self.read is None:
            materials = self.materials
            settings = materials.settings.retrain
            self.read = (
                materials.training_pixels(materials.dataset.train, settings.augmentation, self.listener),
                materials.pixels(materials.dataset.validation, "validation", self.listener),
                load_supernet(self.run, materials) if settings.inherit else None,
            )
        return self.read


def read_reranked(path: Path) -> list[Reranked]:
    """Read the finished candidates from a run's search/rerank.jsonl, in the order of training; none without the file.

    Raises:
        RunError: If a line is damaged.
    """
    reranked = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            reranked.append(Reranked.from_json(line))
        except (KeyError, TypeError, ValueError, SettingsError) as error:
            raise RunError(f"{path} is damaged in line {number}: it is no trained candidate.", _NEW_RUN) from error
    return reranked


def last_rung(reranked: Sequence[Reranked]) -> list[Reranked]:
    """Those of the last rung, which have the longest training, in their order."""
    epochs = max((len(each.losses) for each in reranked), default=0)
    return [each for each in reranked if len(each.losses) == epochs]


def _dumped(settings: RetrainSettings) -> dict[str, Any]:
    """The settings that affect a finalist: it is trained on the whole training set, and has no teachers."""
    return settings.model_dump(mode="json", exclude=_OF_THE_WINNER)


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


def _outcome(model: Supernet, subnet: Subnet, validation: Pixels, materials: Materials) -> Outcome:
    """Evaluate the merged network on all validation images."""
    logits = merged_logits(model, subnet, validation, materials)
    wrong = (predicted_labels(logits) != validation.labels).nonzero()[0]
    return Outcome(score(logits, validation.labels), tuple(wrong.tolist()))


def _rank_key(reranked: Reranked, materials: Materials) -> tuple[float, ...]:
    by_loss = materials.settings.search.rerank_by == "cross_entropy"
    return (reranked.score.cross_entropy,) if by_loss else (-reranked.score.correct, reranked.score.cross_entropy)
