"""The first stage of a run: train the supernet, then search it with one or several processes."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import accumulate
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import get_all_study_names

from noah.cluster.session import Cluster
from noah.data.pixels.pixels import Pixels
from noah.errors import CommandOrderError, RunError
from noah.model.supernet import Supernet
from noah.nas.candidate import Candidate, rank
from noah.nas.candidate_evaluation import candidate_logits, showing, smallest_batch, validation_tokens
from noah.nas.evolution import needed_exactly
from noah.nas.loop import is_exhausted, work
from noah.nas.race import Task
from noah.nas.racing import Rules
from noah.nas.storage import journal_storage, open_storage
from noah.nas.study import SearchStudy
from noah.nas.worker import this_worker
from noah.prepare.build import load_supernet
from noah.prepare.context import Materials
from noah.prepare.run_budget import objective_cost, run_budget
from noah.progress import CandidateDetail, Listener, SearchDetail, Silent
from noah.runs.file_shapes import Study, check_shape
from noah.runs.folder import Run
from noah.runs.seals import SEARCH, break_seal, is_sealed, seal_search, seal_start
from noah.runs.stored_results import read_winner
from noah.space.operators import check_budget
from noah.stages.candidate_file import CANDIDATES, CandidateFile, check_fits
from noah.stages.conclude_search import conclude
from noah.stages.local_workers import local_workers
from noah.stages.spread_search import spread_candidates
from noah.stages.supernet_stage import train_supernet
from noah.training.checkpoint_file import CHECKPOINT_FILE

SEARCH_SEED = 2
"""The second word of this stage's seed, which no other stage uses."""
_WAIT_SECONDS = 1.0
"""The time between two checks on a supernet that another process is training."""


def search(
    run: Run,
    materials: Materials,
    listener: Listener,
    *,
    time_limit: float | None = None,
    alone: bool = False,
    cluster: Cluster | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Train the supernet, search it, and choose the winner; work that the run folder already holds is not repeated.

    Several processes of one command train the supernet together, and then each becomes a worker of the search.

    Args:
        run: Gets the supernet, the search and its result.
        materials: What the run works with.
        listener: Receives the progress.
        time_limit: Seconds from now within which to choose a winner: the supernet's training stops after an epoch, and
            the search after a candidate. The final training of the best (`search.rerank`) takes extra time.
        alone: Whether no other process can be at work on the run, which may come from a machine that is gone: nobody
            waits for signs of life then.
        cluster: The machines that evaluate the candidates and train the finalists; None for this process. The result is
            the same. They train the supernet together if they have several GPUs, or if the settings say so.
        workers: Processes of this machine that evaluate the candidates, this one among them.

    Returns:
        The content of search/best.json: the winner, and how certain the choice is.
    """
    started = time.monotonic()
    task = _task(run, materials)
    check_budget(task.space, task.budget)
    check_fits(run.path(*CANDIDATES), task.planned, task.rules.images, task.space.blocks)
    seal_start(run)
    break_seal(run, SEARCH)
    # Decoded first, so that an unreadable image is reported before hours of training, not after.
    validation = materials.pixels(materials.dataset.validation, "validation", listener)
    supernet = train_supernet(run, materials, task.budget, listener, time_limit=time_limit, cluster=cluster)
    processes = materials.hardware.processes
    with processes.first_goes_ahead():
        study = _open_study(run, materials, new=processes.is_first)
    run.log("search", "started", planned=task.planned)
    late = _out_of_time(started, time_limit)
    written = run if run.writes else None
    with local_workers(_join_as_worker, run, materials, workers, listener):
        found = _evaluate(study, task, supernet, validation, materials, listener, late, written, alone, cluster)
    candidates = processes.of_first(lambda: found)
    exhausted = is_exhausted(candidates, task)
    stopped = not exhausted and len(candidates) < task.planned and late()
    result = conclude(run, materials, task, candidates, listener, stopped=stopped, exhausted=exhausted, cluster=cluster)
    run.log("search", "finished", seconds=round(time.monotonic() - started, 1), candidates=len(candidates))
    seal_search(run)
    return result


def finished_search(run: Run) -> dict[str, Any] | None:
    """The result of a finished search; None if it has not finished, or was stopped by a time limit.

    Raises:
        RunError: If search/best.json is damaged.
    """
    if not run.path("search", "best.json").is_file():
        return None
    result = read_winner(run)
    if result["stopped"] is not None:
        return None
    if not is_sealed(run, SEARCH):  # it was stopped just before sealing, or an earlier version searched
        seal_search(run)
    return result


def join_search(
    run: Run, materials: Materials, listener: Listener, *, time_limit: float | None = None
) -> list[Candidate]:
    """Work on a search that has begun, until it is finished or the time is up.

    Only the search's record is written: choosing the winner is left to the process that holds the run's lock.

    Returns:
        All finished candidates.
    """
    started = time.monotonic()
    task = _task(run, materials)
    validation = materials.pixels(materials.dataset.validation, "validation", listener)
    study = _open_study(run, materials, new=False)
    late = _out_of_time(started, time_limit)
    return _evaluate(study, task, load_supernet(run, materials), validation, materials, listener, late, None)


def _join_as_worker(run: Run, materials: Materials) -> None:
    join_search(run, materials, Silent())


def wait_until_begun(run: Run, listener: Listener) -> None:
    """Wait while another process trains the supernet.

    Raises:
        CommandOrderError: If no process is training it.
    """
    told = False
    while not has_begun(run):
        if not run.is_locked():
            raise CommandOrderError(
                f"The search of {run.name} has not begun, and no process is training its supernet.",
                f"Go on with it: noah search --resume --run {run.option}",
            )
        if not told:
            listener.say(f"waiting   for the process that trains the supernet of {run.name}")
        told = True
        time.sleep(_WAIT_SECONDS)


def has_begun(run: Run) -> bool:
    """Whether the supernet is trained and the search has begun, so that other processes may join."""
    return run.path("search", "study.json").is_file() and run.path("supernet", CHECKPOINT_FILE).is_file()


def _task(run: Run, materials: Materials) -> Task:
    settings, hardware = materials.settings, materials.hardware
    batch_size = materials.evaluation_batch_size
    rules = Rules(
        rule="off" if settings.search.sampler == "published" else settings.search.racing,  # it ranks differently
        images=len(materials.dataset.validation),
        top=needed_exactly(settings.search),
        smallest_batch=smallest_batch(hardware, batch_size),
        batch_size=batch_size,
    )
    return Task(
        materials.space,
        run_budget(run, materials),
        settings.search,
        (settings.seed, SEARCH_SEED),
        rules,
        objective_cost(run, materials),
    )


def _open_study(run: Run, materials: Materials, *, new: bool) -> SearchStudy:
    """Open the search's record; its name has a random part, so that no other run in the same storage can share it.

    If study.json exists, so does the record, because the file is written last.
    """
    settings, path = materials.settings.search, run.path("search", "study.json")
    begin = new and not path.exists()
    if begin and run.path(*CANDIDATES).exists():
        raise RunError(
            f"{run.name} was searched by an older version, which stored its search in another form.",
            "Start a new run with `noah search`.",
        )
    name = f"{run.name}-{secrets.token_hex(4)}" if begin else _study_name(run)
    journal = run.path("search", "journal.log")
    storage: BaseStorage = open_storage(settings.storage) if settings.storage else journal_storage(journal)
    if not begin and name not in get_all_study_names(storage):
        raise RunError(
            f"The search of {run.name} is not in {'its database' if settings.storage else journal} anymore.",
            f"{'A path in sqlite:///FILE starts from the working folder. ' if settings.storage else ''}"
            f"Restore it; or remove {path} and candidates.jsonl beside it to search again with the same supernet.",
        )
    study = SearchStudy(storage, name, materials.space, settings)
    if begin:
        run.write_json({"name": name}, "search", "study.json")
    return study


def _study_name(run: Run) -> str:
    path = run.path("search", "study.json")
    hint = "Restore it; or remove it and candidates.jsonl beside it to search again with the same supernet."
    name: str = check_shape(run.read_json("search", "study.json"), Study, path, hint)["name"]
    return name


def _out_of_time(started: float, time_limit: float | None) -> Callable[[], bool]:
    return lambda: time_limit is not None and time.monotonic() - started >= time_limit


def _evaluate(
    study: SearchStudy,
    task: Task,
    supernet: Supernet,
    validation: Pixels,
    materials: Materials,
    listener: Listener,
    out_of_time: Callable[[], bool],
    run: Run | None,
    alone: bool = False,
    cluster: Cluster | None = None,
) -> list[Candidate]:
    """Work on the search; if a run is given, its candidates.jsonl is kept up to date."""
    preprocessing, hardware, batch_size = materials.backbone.preprocessing, materials.hardware, task.rules.batch_size
    folder = None if run is None else run.folder
    tokens = validation_tokens(supernet, validation, preprocessing, hardware, batch_size, folder)
    if tokens is not None:
        value = f"the first {tokens.blocks} of {supernet.largest.depth} once for all candidates"
        listener.say(f"blocks    {value} (no module is in them; {tokens.where})")
    ask = candidate_logits(supernet, validation, preprocessing, hardware, batch_size, tokens)
    show = showing(ask, validation.labels)
    told = -1
    kept = None if run is None else CandidateFile(run.path(*CANDIDATES))
    with ExitStack() as ends:
        show_all = None
        if cluster is not None:
            spread = spread_candidates(
                cluster, supernet, validation, preprocessing, hardware, batch_size, tokens, listener
            )
            show_all = ends.enter_context(spread)
        bar = ends.enter_context(listener.bar("searching subnets", task.planned, "subnets"))

        def tell(candidates: Sequence[Candidate]) -> None:
            nonlocal told
            if len(candidates) == told:
                return
            told = len(candidates)
            if kept is not None:
                kept.follow(candidates)
            best = f"best {rank(candidates)[0].score.accuracy:.1%}" if candidates else ""
            bar.update(told, best, _detail(task, candidates))

        candidates = work(
            study,
            task,
            show,
            this_worker(),
            show_all=show_all,
            out_of_time=out_of_time,
            tell=tell,
            alone=alone,
            concludes=run is not None,
        )
    if kept is not None:
        kept.order(candidates)
    return candidates


def _detail(task: Task, candidates: Sequence[Candidate]) -> SearchDetail:
    """The details to report about a search so far."""
    population = task.settings.population
    generations = math.ceil(task.planned / population)
    best = rank(candidates)[0] if candidates else None
    complete = [candidate for candidate in candidates if candidate.outcome.complete]
    return SearchDetail(
        generation=min(len(candidates) // population + 1, generations),
        generations=generations,
        accuracies=tuple(accumulate((candidate.score.accuracy for candidate in complete), max)),
        best=-1 if best is None else best.index,
        uses=()
        if best is None
        else tuple((bound.describe(), bound.cost(best.subnet) / bound.limit) for bound in task.budget.bounds),
        given_up=sum(candidate.lost for candidate in candidates),
        images_shown=sum(candidate.score.total for candidate in candidates),
        measured=tuple(CandidateDetail(c.index, c.score.accuracy, c.parameters) for c in complete),
        images_of_all=len(candidates) * task.rules.images,
    )
