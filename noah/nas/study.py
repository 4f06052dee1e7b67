"""The record of a search that several processes share: an Optuna study, in a journal file or a database.

Every candidate is a trial. Its genes are the trial's parameters, and everything else is in user attributes: the
proposal, the worker that holds it, and one look after the other. A trial waits until a worker takes it, runs while it
is held, and ends complete, or pruned where it was given up in the race. A worker that lets go of a candidate, or dies,
leaves a failed trial and a new one with the same looks.

Proposals are a pure function of finished candidates, so two workers may write down the same ones at the same time: of
two trials with one index that with more looks counts, of equal ones the older. All of this needs nothing of a storage
but that a waiting trial is given to one process only, and that a finished one stays as it is.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from noah.errors import RunError, SettingsError
from noah.nas.candidate import Candidate, Proposal
from noah.nas.racing import Look, outcome_of
from noah.nas.samplers import directions, distributions, to_genes
from noah.nas.worker import Beat, Worker
from noah.settings.settings import EvolutionSettings
from noah.space.search_space import SearchSpace

_PROPOSAL, _HOLDER, _LOOK, _BEAT = "proposal", "worker", "look.", "worker."


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate of the study, at any stage.

    Attributes:
        trial: Number of its trial.
        proposal: What is to be evaluated.
        looks: At the images that it was shown so far.
        holder: Name of the worker that holds it, or while that has not signed yet, one that nobody else has; None
            while it waits, and when it is finished.
        finished: Whether it was shown every image, or given up.
    """

    trial: int
    proposal: Proposal
    looks: tuple[Look, ...] = ()
    holder: str | None = None
    finished: bool = False


class SearchStudy:
    """The study of one search.

    Args:
        storage: Where it is kept.
        name: Unique in the storage.
        space: The search space, which names the genes.
        settings: Of the search; the objective decides the study's directions.
    """

    def __init__(self, storage: BaseStorage, name: str, space: SearchSpace, settings: EvolutionSettings) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=storage, study_name=name, directions=directions(settings), load_if_exists=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # names for the dashboard; nothing rests on them
            self._study.set_metric_names(settings.objective.split(","))
        self._storage, self._study_id = storage, storage.get_study_id_from_name(name)
        self._space = space
        self._distributions = distributions(space)
        self._finished: dict[int, Entry] = {}

    def entries(self) -> list[Entry]:
        """All candidates that were proposed, by their index; one for each."""
        states = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
        entries: dict[int, Entry] = {}
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False, states=states):
            entry = self._finished.get(trial.number) or _read_entry(trial)
            if entry.finished:
                self._finished[trial.number] = entry
            known = entries.get(entry.proposal.index)  # an older one: trials come in the order of their numbers
            if known is None or (known.finished, len(known.looks)) < (entry.finished, len(entry.looks)):
                entries[entry.proposal.index] = entry
        return sorted(entries.values(), key=lambda entry: entry.proposal.index)

    def propose(self, proposals: Sequence[Proposal], looks: Sequence[Look] = ()) -> None:
        """Write down what is to be evaluated, with what is known of it already."""
        for proposal in proposals:
            genes = to_genes(proposal.subnet, self._space)
            attributes = {f"{_LOOK}{number:05d}": look.to_json() for number, look in enumerate(looks)}
            trial = optuna.trial.create_trial(
                state=TrialState.WAITING,
                params=genes,
                distributions=self._distributions,
                user_attrs={_PROPOSAL: proposal.to_json(), **attributes},
            )
            self._study.add_trial(trial)

    def hold(self, entry: Entry, worker: Worker) -> Entry | None:
        """Take a waiting candidate; None if another worker was faster."""
        trial = self._trial_id(entry)
        try:
            if not self._storage.set_trial_state_values(trial, TrialState.RUNNING):
                return None
            self._storage.set_trial_user_attr(trial, _HOLDER, worker.name)
        except UpdateFinishedTrialError:
            return None
        return replace(entry, holder=worker.name)

    def add(self, entry: Entry, look: Look) -> Entry | None:
        """Write down a look at a candidate that this process holds; None if it was taken from it meanwhile."""
        try:
            self._storage.set_trial_user_attr(self._trial_id(entry), f"{_LOOK}{len(entry.looks):05d}", look.to_json())
        except UpdateFinishedTrialError:
            return None
        return replace(entry, looks=(*entry.looks, look))

    def finish(self, entry: Entry, candidate: Candidate, values: Sequence[float]) -> None:
        """End a candidate that this process holds; nothing happens if it was taken from it meanwhile.

        Args:
            entry: It.
            candidate: What became of it.
            values: Of its objectives, which only a complete one has.
        """
        complete = candidate.outcome.complete
        try:
            self._storage.set_trial_state_values(
                self._trial_id(entry),
                TrialState.COMPLETE if complete else TrialState.PRUNED,
                list(values) if complete else None,
            )
        except UpdateFinishedTrialError:
            return

    def let_go(self, entry: Entry) -> None:
        """Let others have a candidate that this process, or one that died, holds; its looks are kept.

        They are written to the new trial first, so that nothing is lost with a process that dies in between.
        """
        self.propose([entry.proposal], entry.looks)
        try:
            self._storage.set_trial_state_values(self._trial_id(entry), TrialState.FAIL)
        except UpdateFinishedTrialError:
            return

    def beat(self, beat: Beat) -> None:
        """Write down a sign of life."""
        self._storage.set_study_user_attr(self._study_id, f"{_BEAT}{beat.worker.name}", beat.to_json())

    def beats(self) -> dict[str, Beat]:
        """The latest sign of life of every worker, by its name."""
        attributes = self._storage.get_study_user_attrs(self._study_id)
        names = [key.removeprefix(_BEAT) for key in attributes if key.startswith(_BEAT)]
        return {name: Beat.from_json(name, attributes[f"{_BEAT}{name}"]) for name in names}

    def _trial_id(self, entry: Entry) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, entry.trial)


def candidate_of(entry: Entry, images: int, embed_dim: int, cost: float) -> Candidate:
    """The candidate of an entry with looks.

    Args:
        entry: The entry.
        images: Number of validation images.
        embed_dim: Width D of the backbone.
        cost: Value of its second objective, 0 where there is none.
    """
    proposal = entry.proposal
    return Candidate(
        proposal.index,
        proposal.generation,
        proposal.origin,
        proposal.subnet,
        proposal.subnet.parameter_count(embed_dim),
        outcome_of(entry.looks, images),
        cost,
    )


def _read_entry(trial: FrozenTrial) -> Entry:
    attributes: dict[str, Any] = trial.user_attrs
    keys = sorted(key for key in attributes if key.startswith(_LOOK))
    try:
        proposal = Proposal.from_json(attributes[_PROPOSAL])
        looks = tuple(Look.from_json(attributes[key]) for key in keys)
    except (KeyError, TypeError, ValueError, SettingsError) as error:
        raise RunError(
            f"The record of the search is damaged: its entry {trial.number} is no candidate.",
            "Start a new run with `noah search`.",
        ) from error
    unsigned = f"whoever holds trial {trial.number}"
    holder = attributes.get(_HOLDER, unsigned) if trial.state == TrialState.RUNNING else None
    return Entry(trial.number, proposal, looks, holder, trial.state.is_finished())
