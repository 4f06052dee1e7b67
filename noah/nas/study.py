"""The record of a search that several processes share: an Optuna study, in a journal file or a database.

Every candidate is a trial. Its genes are the trial's parameters, and everything else is in user attributes: the
proposal, the worker that holds it, and each of its looks. A trial waits until a worker takes it, runs while it is held,
and ends as complete, or as pruned if it was given up in the race. When a worker lets go of a candidate, or dies, its
trial fails and a new one with the same looks replaces it.

Proposals are a pure function of finished candidates, so two workers may record the same ones at the same time: of two
trials with the same index the one with more looks counts, or else the older one. All that this requires of a storage is
that a waiting trial is given to one process only, and that a finished one never changes.
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
from noah.space.kinds import BlockSizes
from noah.space.search_space import SearchSpace

_PROPOSAL, _HOLDER, _LOOK, _BEAT = "proposal", "worker", "look.", "worker."


@dataclass(frozen=True, slots=True)
class Entry:
    """A candidate of the study, at any stage.

    Attributes:
        trial: The number of its trial.
        proposal: The proposal to be evaluated.
        looks: Its results so far.
        holder: The name of the worker that holds it, or a unique placeholder until that worker has signed; None while
            it waits and when it is finished.
        finished: Whether it was evaluated on every image, or given up.
    """

    trial: int
    proposal: Proposal
    looks: tuple[Look, ...] = ()
    holder: str | None = None
    finished: bool = False


class SearchStudy:
    """The study of one search.

    Args:
        storage: Where the study is stored.
        name: The name of the study, unique in the storage.
        space: The search space, which determines the genes.
        settings: The settings of the search; the objective determines the study's directions.
    """

    def __init__(self, storage: BaseStorage, name: str, space: SearchSpace, settings: EvolutionSettings) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=storage, study_name=name, directions=directions(settings), load_if_exists=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # names for the dashboard; nothing depends on them
            self._study.set_metric_names(settings.objective.split(","))
        self._storage, self._study_id = storage, storage.get_study_id_from_name(name)
        self._space = space
        self._distributions = distributions(space)
        self._finished: dict[int, Entry] = {}

    def entries(self) -> list[Entry]:
        """All candidates that were proposed, sorted by index, one entry for each."""
        states = (TrialState.WAITING, TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED)
        entries: dict[int, Entry] = {}
        for trial in self._storage.get_all_trials(self._study_id, deepcopy=False, states=states):
            entry = self._finished.get(trial.number) or _read_entry(trial)
            if entry.finished:
                self._finished[trial.number] = entry
            known = entries.get(entry.proposal.index)  # an older one, because trials are sorted by number
            if known is None or (known.finished, len(known.looks)) < (entry.finished, len(entry.looks)):
                entries[entry.proposal.index] = entry
        return sorted(entries.values(), key=lambda entry: entry.proposal.index)

    def propose(self, proposals: Sequence[Proposal], looks: Sequence[Look] = ()) -> None:
        """Record proposals to be evaluated, with the looks that are already known."""
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
        """Take a waiting candidate; None if another worker was faster, or this one holds it already."""
        trial = self._trial_id(entry)
        try:
            if self._storage.get_trial(trial).state is not TrialState.WAITING:
                return None
            if not self._storage.set_trial_state_values(trial, TrialState.RUNNING):
                return None
            self._storage.set_trial_user_attr(trial, _HOLDER, worker.name)
        except UpdateFinishedTrialError:
            return None
        return replace(entry, holder=worker.name)

    def add(self, entry: Entry, look: Look) -> Entry | None:
        """Record a look at a candidate that this process holds; None if another has taken it over meanwhile."""
        try:
            self._storage.set_trial_user_attr(self._trial_id(entry), f"{_LOOK}{len(entry.looks):05d}", look.to_json())
        except UpdateFinishedTrialError:
            return None
        return replace(entry, looks=(*entry.looks, look))

    def finish(self, entry: Entry, candidate: Candidate, values: Sequence[float]) -> None:
        """Finish a candidate that this process holds; nothing happens if another has taken it over meanwhile.

        Args:
            entry: The entry that is finished.
            candidate: The entry's candidate, with its outcome.
            values: The values of its objectives; only a complete candidate has them.
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
        """Release a candidate that this process, or a dead one, holds; its looks are kept.

        They are written to the new trial first, so nothing is lost if this process dies in between.
        """
        self.propose([entry.proposal], entry.looks)
        try:
            self._storage.set_trial_state_values(self._trial_id(entry), TrialState.FAIL)
        except UpdateFinishedTrialError:
            return

    def beat(self, beat: Beat) -> None:
        """Record a worker's sign of life."""
        self._storage.set_study_user_attr(self._study_id, f"{_BEAT}{beat.worker.name}", beat.to_json())

    def beats(self) -> dict[str, Beat]:
        """The latest sign of life of every worker, by name."""
        attributes = self._storage.get_study_user_attrs(self._study_id)
        names = [key.removeprefix(_BEAT) for key in attributes if key.startswith(_BEAT)]
        return {name: Beat.from_json(name, attributes[f"{_BEAT}{name}"]) for name in names}

    def _trial_id(self, entry: Entry) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, entry.trial)


def candidate_of(entry: Entry, images: int, sizes: BlockSizes | int, cost: float) -> Candidate:
    """The candidate of an entry with looks.

    Args:
        entry: The entry.
        images: Number of validation images.
        sizes: Of the backbone's blocks, which price the modules.
        cost: Value of its second objective, 0 where there is none.
    """
    proposal = entry.proposal
    return Candidate(
        proposal.index,
        proposal.generation,
        proposal.origin,
        proposal.subnet,
        proposal.subnet.parameter_count(sizes),
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
            f"The record of the search is damaged: its entry {trial.number} is not a candidate.",
            "Start a new run with `noah search`.",
        ) from error
    unsigned = f"whoever holds trial {trial.number}"
    holder = attributes.get(_HOLDER, unsigned) if trial.state == TrialState.RUNNING else None
    return Entry(trial.number, proposal, looks, holder, trial.state.is_finished())
