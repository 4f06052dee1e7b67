"""The start of a run: loads its data, backbone and hardware once, and makes its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from noah.cost.latency_table import LatencyTable
from noah.data.intake import write_listing
from noah.errors import UsageError
from noah.nas.evolution import check_invited
from noah.prepare.auto import adapt
from noah.prepare.common_images import first_parts, read_first_images
from noah.prepare.context import Materials, look_at_images, prepare
from noah.prepare.earlier import Earlier, describe_head, with_earlier, write_earlier
from noah.prepare.held_out import final_images, images_of_finalists
from noah.prepare.run_budget import LATENCY_FILE, budget_facts, decide_budget
from noah.progress import Listener
from noah.runs.folder import DAMAGED_FILE, Run, check_new_name, create_run, describe
from noah.runs.run_images import keep_images
from noah.runs.run_subnet import FRONT, front_subnet
from noah.runs.seals import seal_start
from noah.runs.subnet_text import check_spelling, parse_subnet
from noah.settings.layers import is_planned
from noah.settings.settings import Settings
from noah.space.operators import check_budget
from noah.space.subnet import Subnet


def start_run(
    root: Path,
    settings: Settings,
    origins: Mapping[str, str],
    listener: Listener,
    *,
    name: str | None,
    subnet: str | None = None,
    searched: Run | None = None,
    time_limit: float | None = None,
    earlier: Earlier | None = None,
    weights: Mapping[str, Tensor] | None = None,
) -> tuple[Run, Materials]:
    """Make the folder of a new run, either for a search or for one subnet that is given instead.

    If there are several processes, the first makes it for all of them.

    Args:
        root: The folder of all runs.
        settings: The resolved settings of the run.
        origins: The source of each setting.
        listener: Receives the dataset, the backbone and every automatic choice.
        name: The run's id; None means the date and time.
        subnet: The subnet as the user types it, see `parse_subnet`; None for a run that will search its own. The
            budget applies only to a search.
        searched: The run whose Pareto front a spelling such as pareto:2 refers to.
        time_limit: Seconds within which a search is to end; the recipe `auto` plans for it.
        earlier: What is known of the run that this one goes on from (`noah.prepare.earlier`); None for none.
        weights: Of that run.

    Returns:
        The run, and what its stages work with.

    Raises:
        NoahError: If anything is wrong with the settings, the data, the backbone, the subnet or the folder. No run
            is begun then.
    """
    front: Subnet | None = None
    if subnet is not None:
        # This comes before data and backbone are loaded.
        front = front_subnet(searched, subnet) if searched is not None and subnet.startswith(FRONT) else None
        if front is None:
            check_spelling(subnet)
        if settings.retrain.inherit:
            raise UsageError(
                "A subnet that is given has no supernet to inherit weights from.", "Add --set retrain.inherit=false."
            )
    materials = prepare(settings, listener, tell_data=True)
    check_new_name(root, materials.dataset.name, name, given=subnet is not None)  # before images are opened
    materials = look_at_images(materials, listener, root)
    materials, origins = adapt(materials, origins, listener, searches=subnet is None, time_limit=time_limit)
    settings = materials.settings
    if earlier is not None:
        dataset, notes = with_earlier(materials, earlier)
        materials = replace(materials, dataset=dataset)
        for note in (*notes, f"Of the head, {describe_head(earlier, dataset.classes)}."):
            listener.say(f"          {note}")
    final = final_images(materials)  # report a share that cannot be held out now, not after the search
    if subnet is None:
        images_of_finalists(materials)  # likewise
    processes, read = materials.hardware.processes, materials

    def make() -> Path:
        check_new_name(root, materials.dataset.name, name, given=subnet is not None)
        describe(  # refused before images are opened and anything is timed
            root,
            settings,
            origins,
            dataset=materials.dataset.name,
            facts=materials.facts(),
            choices=materials.choices,
        )
        facts, table = _facts(materials, origins, listener, subnet, front, searched)
        if earlier is not None:
            facts["given"]["earlier"] = earlier.run
        nonlocal read
        parts = first_parts(materials, searches=subnet is None)
        read, common = read_first_images(materials, parts, listener)
        run = create_run(
            root,
            settings,
            origins,
            dataset=materials.dataset.name,
            name=name,
            facts=facts | {"duplicates": common.facts()},
            choices=materials.choices,
        )
        common.keep(run)
        if materials.intake.listed:
            write_listing(run.path(DAMAGED_FILE), materials.intake.listed)
        if table is not None:
            run.write_json(table.to_json(), *LATENCY_FILE)
        keep_images(run, materials.dataset, settings.data, None if final.held_out is None else final.held_out.both)
        if earlier is not None:
            write_earlier(run, earlier, weights or {})
        seal_start(run)
        run.log("run", "created")
        return run.folder

    return Run(processes.of_first(make), writes=processes.is_first), read


def _facts(
    materials: Materials,
    origins: Mapping[str, str],
    listener: Listener,
    subnet: str | None,
    front: Subnet | None,
    searched: Run | None,
) -> tuple[dict[str, Any], LatencyTable | None]:
    """What run.yaml records besides the settings, and the timings behind a bound or an objective of latency."""
    facts: dict[str, Any] = materials.facts()
    if subnet is None:
        budget, table = decide_budget(materials, listener)
        check_budget(materials.space, budget)
        if not is_planned(origins.get("search.invited", "")):  # of those planned, a bound on latency may exclude some
            check_invited(materials.space, budget, materials.settings.search)
        return facts | {"budget": budget_facts(budget)}, table
    blocks = materials.space.blocks
    given = parse_subnet(subnet, depth=blocks) if front is None else front
    if given.depth != blocks:
        raise UsageError(
            f"--subnet {subnet}: it is for {given.depth} blocks, and the backbone has {blocks}.",
            "Leave the backbone as it was in the search, or name one of that depth.",
        )
    facts["given"] = {"spelling": subnet, "subnet": given.to_json()}
    if front is not None and searched is not None:
        facts["given"]["searched"] = searched.name
    return facts, None
